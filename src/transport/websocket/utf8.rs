//! A text that comes in fragments, which may be cut inside of a character.

/// What has been seen of a text.
#[derive(Debug, Default)]
pub(super) struct Utf8 {
    /// The beginning of a character, if one was cut.
    begun: Vec<u8>,
}

impl Utf8 {
    /// False if it is no UTF-8 with this fragment. The last one must not cut a character.
    pub(super) fn goes_on(&mut self, fragment: &[u8], is_last: bool) -> bool {
        self.begun.extend_from_slice(fragment);
        match std::str::from_utf8(&self.begun) {
            Ok(_) => self.begun = Vec::new(),
            Err(error) if error.error_len().is_none() && !is_last => {
                self.begun.drain(..error.valid_up_to());
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
        let (mut text, last) = (Utf8::default(), fragments.len() - 1);
        fragments.iter().enumerate().all(|(at, fragment)| text.goes_on(fragment, at == last))
    }

    #[test]
    fn a_character_may_be_cut_but_not_by_the_end() {
        let turtle = "\u{1f422}".as_bytes();
        assert!(is_text(&[&turtle[..1], &turtle[1..3], &turtle[3..]]));
        assert!(is_text(&[&turtle[..2], b"", &turtle[2..]]));
        assert!(!is_text(&[b"a", &turtle[..3]]));
        assert!(!is_text(&[&turtle[..2], b"a"]));
        assert!(!is_text(&[b"\xff", b"a"]));
    }
}
