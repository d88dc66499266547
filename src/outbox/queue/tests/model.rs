//! A model of the queue that keeps the whole history and recounts every sum.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Shared,
    Filtered,
    Private,
    RawFrame,
    Empty,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Push(Kind, usize),
    Take(usize),
    Attach(Resume),
    Detach,
    SetGroupsToken,
    Finish,
    Discard,
}

const END: End = End::Close(1000);

struct Model {
    limits: Limits,
    window: ReplayLimits,
    /// All pushed entries. A raw frame becomes empty when its channel has ended.
    history: Vec<(Kind, String)>,
    first: usize,
    sent: usize,
    /// Waiting entries before this index are replayed.
    replayed_until: usize,
    is_attached: bool,
    filters_quiet: bool,
    groups_token: Option<String>,
    is_closed: bool,
    counted: Backlog,
}

impl Model {
    fn new(limits: Limits, window: ReplayLimits) -> Self {
        let counted = Backlog::default();
        let (history, groups_token) = (Vec::new(), None);
        let (is_attached, filters_quiet, is_closed) = (false, false, false);
        Self {
            limits,
            window,
            history,
            first: 0,
            sent: 0,
            replayed_until: 0,
            is_attached,
            filters_quiet,
            groups_token,
            is_closed,
            counted,
        }
    }

    fn tail(&self) -> usize {
        self.history.len()
    }

    fn bytes(&self, range: std::ops::Range<usize>) -> usize {
        self.history[range].iter().map(|(_, text)| text.len()).sum()
    }

    fn backlog(&self) -> Backlog {
        let waiting = self.sent..self.tail();
        Backlog { items: waiting.len(), bytes: self.bytes(waiting), kept: self.sent - self.first, ..self.counted }
    }

    fn push(&mut self, kind: Kind, text: &str) -> Push {
        if self.is_closed {
            return Push::Closed;
        }
        let kept = self.sent - self.first;
        if self.tail() - self.first >= self.window_capacity() && kept > self.window.items {
            self.first += 1;
        }
        self.history.push((kind, text.to_owned()));
        self.counted.peak_bytes = self.counted.peak_bytes.max(self.backlog().bytes);
        if self.is_attached || self.window.items == 0 {
            return self.enforce_limits();
        }
        self.enforce_disconnected_limits();
        Push::Queued
    }

    fn enforce_limits(&mut self) -> Push {
        loop {
            let held = self.sent.max(self.replayed_until)..self.tail();
            let (items, bytes) = (held.len(), self.bytes(held.clone()));
            if items <= 1 || (items <= self.limits.items && bytes <= self.limits.bytes) {
                return Push::Queued;
            }
            let is_reply = |at: &usize| matches!(self.history[*at].0, Kind::Private | Kind::RawFrame);
            let oldest = held.clone().find(|at| !is_reply(at));
            let Some(oldest) = oldest.filter(|_| self.limits.overflow == Overflow::DropOldest) else {
                return Push::Overflowed;
            };
            if oldest != self.sent {
                self.history.remove(oldest);
                self.history.insert(self.sent, (Kind::Empty, String::new()));
                self.replayed_until += usize::from(self.replayed_until > self.sent);
            }
            self.sent += 1;
            self.counted.dropped += 1;
            self.trim_kept();
        }
    }

    fn window_capacity(&self) -> usize {
        self.window.items + self.window.items / 16
    }

    fn exceeds_window(&self, until: usize) -> bool {
        until - self.first > self.window_capacity() || self.bytes(self.first..until) > self.window.bytes
    }

    fn enforce_disconnected_limits(&mut self) {
        let (items, bytes) = (self.limits.items.max(self.window.items), self.limits.bytes.max(self.window.bytes));
        let is_too_much = |from: usize| {
            let counted_from = from + usize::from(self.bytes(from..from + 1) > bytes);
            self.tail() - from > items || self.bytes(counted_from..self.tail()) > bytes
        };
        self.sent = (self.sent..self.tail()).find(|from| !is_too_much(*from)).unwrap_or(self.tail());
        self.trim_kept();
    }

    fn trim_kept(&mut self) {
        while self.first < self.sent && self.exceeds_window(self.sent) {
            self.first += 1;
        }
    }

    fn take(&mut self, budget: usize) -> Option<String> {
        let waiting = &self.history[self.sent..];
        let (count, frame) = match waiting.first() {
            Some((Kind::RawFrame, text)) => (1, format!("<{text}>")),
            None if self.groups_token.is_none() => return None,
            _ => {
                let before = |at: usize| waiting[..at].iter().map(|(_, text)| text.len()).sum::<usize>();
                let fits = |at: &usize| before(*at) < budget && waiting[*at].0 != Kind::RawFrame;
                let count = (0..waiting.len()).take_while(fits).count();
                let is_shown = |kind| kind != Kind::Empty && !(self.filters_quiet && kind == Kind::Filtered);
                let shown = waiting[..count].iter().filter(|(kind, _)| is_shown(*kind)).map(|(_, text)| &**text);
                let elements: String = self
                    .groups_token
                    .iter()
                    .map(|token| &**token)
                    .chain(shown)
                    .fold(String::new(), |all, one| all + one + " ");
                self.groups_token = None;
                (count, format!("[{elements}@{}]", self.sent + count))
            }
        };
        self.clear_raw_frames(self.sent..self.sent + count);
        self.sent += count;
        self.counted.taken += count as u64;
        self.trim_kept();
        Some(frame)
    }

    fn clear_raw_frames(&mut self, range: std::ops::Range<usize>) {
        for entry in &mut self.history[range] {
            if entry.0 == Kind::RawFrame {
                *entry = (Kind::Empty, String::new());
            }
        }
    }

    fn attach(&mut self, resume: Resume) -> bool {
        (self.is_attached, self.filters_quiet, self.groups_token) = (true, true, None);
        if self.window.items > 0 {
            self.enforce_disconnected_limits();
        }
        let wanted = match resume {
            Resume::Waiting | Resume::Unacknowledged => self.sent as u64,
            Resume::From(cursor) => cursor,
            Resume::Tail => self.tail() as u64,
        };
        self.sent = wanted.clamp(self.first as u64, self.tail() as u64) as usize;
        self.clear_raw_frames(self.first..self.tail());
        self.replayed_until = if self.window.items > 0 { self.tail() } else { 0 };
        wanted != self.sent as u64
    }

    fn detach(&mut self) {
        self.is_attached = false;
        if self.window.items > 0 {
            self.enforce_disconnected_limits();
        }
    }

    fn discard_and_close(&mut self) {
        (self.is_closed, self.groups_token) = (true, None);
        (self.first, self.sent) = (self.tail(), self.tail());
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let kind = prop_oneof![
        4 => Just(Kind::Shared),
        2 => Just(Kind::Filtered),
        2 => Just(Kind::Private),
        1 => Just(Kind::RawFrame),
        1 => Just(Kind::Empty),
    ];
    let resume = prop_oneof![Just(Resume::Waiting), Just(Resume::Tail), (0..60_u64).prop_map(Resume::From)];
    let step = prop_oneof![
        40 => (kind, 0..9_usize).prop_map(|(kind, length)| Step::Push(kind, length)),
        20 => (1..20_usize).prop_map(Step::Take),
        8 => resume.prop_map(Step::Attach),
        4 => Just(Step::Detach),
        4 => Just(Step::SetGroupsToken),
        1 => Just(Step::Finish),
        1 => Just(Step::Discard),
    ];
    prop::collection::vec(step, 1..80)
}

fn limits() -> impl Strategy<Value = Limits> {
    let overflow = prop_oneof![Just(Overflow::Close), Just(Overflow::DropOldest)];
    (1..20_usize, 1..60_usize, overflow).prop_map(|(items, bytes, overflow)| Limits { items, bytes, overflow })
}

fn windows() -> impl Strategy<Value = ReplayLimits> {
    prop_oneof![
        Just(ReplayLimits::default()),
        (1..50_usize, 0..60_usize).prop_map(|(items, bytes)| ReplayLimits { items, bytes }),
    ]
}

fn entry(kind: Kind, text: &str) -> QueueEntry {
    match kind {
        Kind::Shared => call(text),
        Kind::Filtered => call_from(text, Source::Group(group("quiet"))),
        Kind::Private => private(text),
        Kind::RawFrame => raw_frame(text),
        Kind::Empty => QueueEntry::EMPTY,
    }
}

/// The text of a push: its sequence number, as far as the length allows.
fn text_of(kind: Kind, place: usize, length: usize) -> String {
    let name = format!("{place}........");
    if kind == Kind::Empty { String::new() } else { name[..length].to_owned() }
}

fn apply(queue: &mut Queue, model: &mut Model, step: Step) -> Result<(), TestCaseError> {
    match step {
        Step::Push(kind, length) => {
            let text = text_of(kind, model.tail(), length);
            let push = queue.push(entry(kind, &text));
            prop_assert_eq!(push, model.push(kind, &text));
            if push == Push::Overflowed {
                queue.discard_and_close(END);
                model.discard_and_close();
            }
        }
        Step::Take(budget) => prop_assert_eq!(take(queue, budget), model.take(budget)),
        Step::Attach(resume) => {
            let filter = ChannelFilter { hubs: None, filtered_groups: HashSet::from([group("quiet")]) };
            prop_assert_eq!(queue.attach(resume, filter), model.attach(resume));
        }
        Step::Detach => {
            queue.detach();
            model.detach();
        }
        Step::SetGroupsToken => {
            queue.fields_mut().groups_token = Some(b"token".as_slice().into());
            model.groups_token = Some("token".into());
        }
        Step::Finish => {
            queue.finish(END);
            model.is_closed = true;
        }
        Step::Discard => {
            queue.discard_and_close(END);
            model.discard_and_close();
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn queue_behaves_like_model(limits in limits(), window in windows(), steps in steps()) {
        let (mut queue, mut model) = (Queue::new(&FORM, limits, window), Model::new(limits, window));
        for step in steps {
            apply(&mut queue, &mut model, step)?;
            prop_assert_eq!(queue.backlog(), model.backlog());
            prop_assert_eq!((queue.cursor(), queue.tail()), (model.sent as u64, model.tail() as u64));
            prop_assert_eq!(queue.is_open(), !model.is_closed);
            let has_output = model.groups_token.is_some() || model.backlog().items > 0 || model.is_closed;
            prop_assert_eq!((queue.has_output(), queue.is_idle()), (has_output, model.backlog().items == 0));
            prop_assert_eq!(queue.end().is_some(), model.is_closed && model.backlog().items == 0);
        }
    }
}
