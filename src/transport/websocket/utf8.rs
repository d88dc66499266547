//! UTF-8 validation of a text message in fragments, which may split a character.

/// Validates the fragments of one text message.
#[derive(Debug, Default)]
pub(super) struct Utf8Validator {
    /// The first bytes of a character that the last fragment has split.
    partial_char: Vec<u8>,
}

impl Utf8Validator {
    /// False if the text is not valid UTF-8 with this fragment. The last fragment must not split a character.
    pub(super) fn accepts(&mut self, fragment: &[u8], is_last: bool) -> bool {
        self.partial_char.extend_from_slice(fragment);
        match std::str::from_utf8(&self.partial_char) {
            Ok(_) => self.partial_char = Vec::new(),
            Err(error) if error.error_len().is_none() && !is_last => {
                self.partial_char.drain(..error.valid_up_to());
            }
            Err(_) => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_text(fragments: &[&[u8]]) -> bool {
        let (mut text, last) = (Utf8Validator::default(), fragments.len() - 1);
        fragments.iter().enumerate().all(|(at, fragment)| text.accepts(fragment, at == last))
    }

    #[test]
    fn split_character_is_valid_except_at_the_end() {
        let turtle = "\u{1f422}".as_bytes();
        assert!(is_text(&[&turtle[..1], &turtle[1..3], &turtle[3..]]));
        assert!(is_text(&[&turtle[..2], b"", &turtle[2..]]));
        assert!(!is_text(&[b"a", &turtle[..3]]));
        assert!(!is_text(&[&turtle[..2], b"a"]));
        assert!(!is_text(&[b"\xff", b"a"]));
    }
}
