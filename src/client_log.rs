//! Log lines that clients can cause, with a limit for each cause.
//!
//! A client can repeat a fault as fast as it can send, so a line for each fault would let any client fill the log. Of
//! each cause, [`MAX_LINES`] lines are logged in a [`PERIOD`]. At the end of the period one more line states how many
//! were suppressed. Every module uses this for lines that a client can cause; all other lines use `log` directly.
//!
//! The limits are per process, as the log is. [`Limiter`] is pure; it is told the time. This module never logs message
//! contents or tokens: callers pass names, addresses and reasons only.

use std::{
    fmt::{self, Display, Write},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use log::{Level, Record};
use tokio::{runtime::Handle, time::Instant};

/// The maximum number of lines of one cause in a period. Enough to recognize a pattern.
const MAX_LINES: u32 = 10;

/// The period of the limit. At most about one line per second and cause remains.
const PERIOD: Duration = Duration::from_secs(10);

/// The maximum length of a field in characters. Clients choose the names in it.
const MAX_FIELD_CHARS: usize = 200;

const TARGET: &str = module_path!();

macro_rules! causes {
    ($($name:ident $level:ident $text:literal)*) => {
        /// The cause of a line. Each has a level, a text and a limit of its own.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Cause {
            $(
                #[doc = $text]
                $name,
            )*
        }

        impl Cause {
            const ALL: &[Self] = &[$(Self::$name),*];

            fn level(self) -> Level {
                match self {
                    $(Self::$name => Level::$level,)*
                }
            }

            fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

causes! {
    // Faults of clients.
    RequestUnauthorized Info "request not authenticated (401)"
    RequestForbidden Info "request forbidden (403)"
    RequestNotFound Info "request for a missing resource (404)"
    RequestRefused Info "request refused"
    MalformedRequest Info "malformed HTTP request refused"
    ForeignOrigin Warn "WebSocket from a foreign origin refused (403)"
    NegotiationRefused Info "negotiation refused"
    ProxyHeaderRefused Warn "PROXY header refused"
    HandshakeRefused Info "handshake refused"
    ConnectionRefused Info "connection refused"
    InvalidFrame Info "invalid WebSocket frame"
    InvalidMessage Info "invalid message"
    MessageTooLong Info "message too long"
    UnknownHub Info "unknown hub"
    UnknownMethod Info "unknown hub method"
    InvalidArguments Info "arguments do not match the hub method"
    CallUnauthorized Info "call of a hub method not authorized"
    StreamMismatch Info "call does not match the stream of a hub method"
    RejoinTokenRefused Info "rejoin token refused"
    RejoinTokenIncomplete Info "rejoin token lacks groups"
    RejoinTokenFull Info "rejoin token cannot list all groups"
    ClientSilent Info "silent client disconnected"
    ClientTooSlow Warn "slow client evicted"
    // Faults of hubs, modules and the store, which occur when a client connects or calls.
    HubError Warn "hub method or hook returned an error"
    HubPanic Error "hub panicked"
    FilterFailed Warn "filter failed"
    FilterRefused Info "refused by a filter"
    PresenceNotRead Warn "failed to read the presence of users, will retry"
    PresenceHandlerSlow Warn "handler of presence cancelled: it did not finish in time"
    RejoinPanic Error "rejoin panicked"
    ConnectionPanic Warn "connection ended by a panic or by the stop of its thread"
    GroupsNotLoaded Warn "failed to load durable groups"
    GroupNotRestored Warn "failed to restore group"
    GroupNotRejoined Warn "failed to rejoin crashed group, will retry"
    GroupRejoined Info "rejoining crashed group"
    SocketNotConfigured Warn "cannot configure socket"
    AdminUnauthorized Warn "admin request not authenticated (401)"
    AdminStoreError Warn "admin request failed: store error"
    NotReady Warn "not ready: store check failed"
}

/// The fields of a line. Empty values are left out.
pub(crate) type Fields<'a> = &'a [(&'static str, &'a dyn Display)];

/// Logs a line, or counts it as suppressed.
pub(crate) fn log(cause: Cause, fields: Fields<'_>) {
    if !log::log_enabled!(target: TARGET, cause.level()) {
        return;
    }
    let verdict = limiter(cause).admit(Instant::now());
    match verdict {
        Verdict::Log { suppressed } => {
            report_suppressed(cause, suppressed);
            write(cause.level(), cause.text(), fields);
        }
        Verdict::SuppressFirst { until } => report_at(cause, until),
        Verdict::Suppress => {}
    }
}

/// Logs the suppressed counts of periods that have not ended, because the process stops.
pub(crate) fn flush() {
    for cause in Cause::ALL {
        let suppressed = limiter(*cause).take_suppressed();
        report_suppressed(*cause, suppressed);
    }
}

/// An optional value as a field. It is empty if there is none.
pub(crate) fn optional<T: Display>(value: Option<T>) -> impl Display {
    fmt::from_fn(move |f| value.as_ref().map_or(Ok(()), |value| value.fmt(f)))
}

/// The reason of a refused message, without the parts of the message that parsers quote.
pub(crate) fn without_contents(reason: &str) -> String {
    let reason = reason.split(" Message content:").next().unwrap_or_default();
    let quoted = |quote| Some((reason.find(quote)?, reason.rfind(quote)?)).filter(|(first, last)| first < last);
    match quoted('"').or_else(|| quoted('`')) {
        Some((first, last)) => format!("{}…{}", &reason[..=first], &reason[last..]),
        None => reason.to_owned(),
    }
}

static LIMITERS: [Mutex<Limiter>; Cause::ALL.len()] = [const { Mutex::new(Limiter::new()) }; Cause::ALL.len()];

fn limiter(cause: Cause) -> MutexGuard<'static, Limiter> {
    LIMITERS[cause as usize].lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reports the suppressed lines at the end of the period. Without a runtime, the next line of the cause reports them.
fn report_at(cause: Cause, until: Instant) {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(async move {
            tokio::time::sleep_until(until).await;
            let suppressed = limiter(cause).take_suppressed();
            report_suppressed(cause, suppressed);
        });
    }
}

fn report_suppressed(cause: Cause, suppressed: u64) {
    if suppressed > 0 {
        write(cause.level(), "log lines suppressed", &[("suppressed", &suppressed), ("cause", &cause.text())]);
    }
}

fn write(level: Level, text: &str, fields: Fields<'_>) {
    let fields: Vec<_> = fields.iter().map(|(key, value)| (*key, field(value))).collect();
    let fields: Vec<_> = fields.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    let logger = log::logger();
    logger.log(
        &Record::builder()
            .level(level)
            .target(TARGET)
            .module_path_static(Some(TARGET))
            .key_values(&fields)
            .args(format_args!("{text}"))
            .build(),
    );
}

/// A value as one word: quoted and escaped where a client could otherwise imitate another field or line, and cut at
/// [`MAX_FIELD_CHARS`].
fn field(value: &dyn Display) -> String {
    let mut text = Cut { text: String::new(), remaining: MAX_FIELD_CHARS };
    // An error means that the text was cut.
    let is_cut = write!(text, "{value}").is_err();
    let mut text = text.text;
    if text.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '=')) {
        text = format!("{text:?}");
    }
    if is_cut {
        text.push('…');
    }
    text
}

/// Takes a limited number of characters.
struct Cut {
    text: String,
    remaining: usize,
}

impl Write for Cut {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        for character in part.chars() {
            self.remaining = self.remaining.checked_sub(1).ok_or(fmt::Error)?;
            self.text.push(character);
        }
        Ok(())
    }
}

/// The lines of one cause in the current period.
#[derive(Debug)]
struct Limiter {
    ends: Option<Instant>,
    logged: u32,
    suppressed: u64,
}

/// The decision about a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Log it, after the number of lines that an earlier period suppressed and did not report.
    Log {
        suppressed: u64,
    },
    /// Suppress it, and report the number of suppressed lines at this time.
    SuppressFirst {
        until: Instant,
    },
    Suppress,
}

impl Limiter {
    const fn new() -> Self {
        Self { ends: None, logged: 0, suppressed: 0 }
    }

    /// Decides about a line. The first line after the end of a period begins the next one.
    fn admit(&mut self, now: Instant) -> Verdict {
        let until = match self.ends {
            Some(ends) if now < ends => ends,
            _ => {
                self.logged = 0;
                *self.ends.insert(now + PERIOD)
            }
        };
        if self.logged < MAX_LINES {
            self.logged += 1;
            return Verdict::Log { suppressed: self.take_suppressed() };
        }
        self.suppressed += 1;
        if self.suppressed == 1 { Verdict::SuppressFirst { until } } else { Verdict::Suppress }
    }

    fn take_suppressed(&mut self) -> u64 {
        std::mem::take(&mut self.suppressed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: Verdict = Verdict::Log { suppressed: 0 };

    fn full(now: Instant) -> Limiter {
        let mut limiter = Limiter::new();
        for _ in 0..MAX_LINES {
            assert_eq!(limiter.admit(now), LOG);
        }
        limiter
    }

    #[test]
    fn lines_above_the_limit_are_counted() {
        let now = Instant::now();
        let mut limiter = full(now);
        assert_eq!(limiter.admit(now), Verdict::SuppressFirst { until: now + PERIOD });
        assert_eq!(limiter.admit(now + PERIOD - Duration::from_nanos(1)), Verdict::Suppress);
        assert_eq!((limiter.take_suppressed(), limiter.take_suppressed()), (2, 0));
    }

    #[test]
    fn next_period_logs_again() {
        let now = Instant::now();
        let mut limiter = full(now);
        limiter.admit(now);
        assert_eq!(limiter.admit(now + PERIOD), Verdict::Log { suppressed: 1 }, "nothing else has reported it");
        for _ in 1..MAX_LINES {
            assert_eq!(limiter.admit(now + PERIOD), LOG);
        }
        assert_eq!(limiter.admit(now + PERIOD), Verdict::SuppressFirst { until: now + PERIOD * 2 });
    }

    #[test]
    fn field_cannot_imitate_other_fields_or_lines() {
        for (value, expected) in [
            ("ann", "ann"),
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("ann user=bob", r#""ann user=bob""#),
            ("a=b", r#""a=b""#),
            ("a\n[2026 ERROR] b", r#""a\n[2026 ERROR] b""#),
            ("\u{1b}[2J", r#""\u{1b}[2J""#),
            ("say \"hi\"", r#""say \"hi\"""#),
            ("", ""),
        ] {
            assert_eq!(field(&value), expected);
        }
    }

    #[test]
    fn long_field_is_cut() {
        let longest = "ä".repeat(MAX_FIELD_CHARS);
        assert_eq!(field(&longest), longest);
        assert_eq!(field(&format!("{longest}b")), format!("{longest}…"));
    }

    #[test]
    fn reasons_contain_no_part_of_the_message() {
        for (reason, expected) in [
            (r#"invalid type: string "my \"pin\" 1234", expected i32"#, r#"invalid type: string "…", expected i32"#),
            ("unknown variant `a`b`, expected `c`", "unknown variant `…`"),
            ("Missing required property 'version'. Message content: {}", "Missing required property 'version'."),
            ("it's too long", "it's too long"),
            ("a lone \"", "a lone \""),
        ] {
            assert_eq!(without_contents(reason), expected);
        }
    }

    #[test]
    fn missing_value_is_an_empty_field() {
        assert_eq!(field(&optional(None::<&str>)), "");
        assert_eq!(field(&optional(Some("ann"))), "ann");
    }
}
