//! The same rules over the whole history: nothing is ever removed, every sum is counted afresh.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Call,
    Muted,
    Own,
    Frame,
    Nothing,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Push(Kind, usize),
    Take(usize),
    Attach(Resume),
    Detach,
    Tell,
    Finish,
    Abandon,
}

const END: End = End { code: 1000 };

struct Model {
    limits: Limits,
    window: ReplayLimits,
    /// Everything that was ever pushed; a frame whose transport has gone has become nothing.
    history: Vec<(Kind, String)>,
    first: usize,
    sent: usize,
    /// What waits before this place was kept for the client's return.
    replayed_until: usize,
    is_attached: bool,
    mutes: bool,
    news: Option<String>,
    is_closed: bool,
    counted: Backlog,
}

impl Model {
    fn new(limits: Limits, window: ReplayLimits) -> Self {
        let counted = Backlog::default();
        let (history, news) = (Vec::new(), None);
        let (is_attached, mutes, is_closed) = (false, false, false);
        Self {
            limits,
            window,
            history,
            first: 0,
            sent: 0,
            replayed_until: 0,
            is_attached,
            mutes,
            news,
            is_closed,
            counted,
        }
    }

    fn tail(&self) -> usize {
        self.history.len()
    }

    fn bytes(&self, places: std::ops::Range<usize>) -> usize {
        self.history[places].iter().map(|(_, text)| text.len()).sum()
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
        if self.tail() - self.first >= self.places() && kept > self.window.items {
            self.first += 1;
        }
        self.history.push((kind, text.to_owned()));
        self.counted.peak_bytes = self.counted.peak_bytes.max(self.backlog().bytes);
        if self.is_attached || self.window.items == 0 {
            return self.hold_to_limits();
        }
        self.hold_for_return();
        Push::Queued
    }

    fn hold_to_limits(&mut self) -> Push {
        loop {
            let held = self.sent.max(self.replayed_until)..self.tail();
            let (items, bytes) = (held.len(), self.bytes(held.clone()));
            if items <= 1 || (items <= self.limits.items && bytes <= self.limits.bytes) {
                return Push::Queued;
            }
            let is_reply = |at: &usize| matches!(self.history[*at].0, Kind::Own | Kind::Frame);
            let oldest = held.clone().find(|at| !is_reply(at));
            let Some(oldest) = oldest.filter(|_| self.limits.overflow == Overflow::DropOldest) else {
                return Push::Overflowed;
            };
            if oldest != self.sent {
                self.history.remove(oldest);
                self.history.insert(self.sent, (Kind::Nothing, String::new()));
                self.replayed_until += usize::from(self.replayed_until > self.sent);
            }
            self.sent += 1;
            self.counted.dropped += 1;
            self.trim();
        }
    }

    fn places(&self) -> usize {
        self.window.items + self.window.items / 16
    }

    fn is_beyond_window(&self, until: usize) -> bool {
        until - self.first > self.places() || self.bytes(self.first..until) > self.window.bytes
    }

    fn hold_for_return(&mut self) {
        let (items, bytes) = (self.limits.items.max(self.window.items), self.limits.bytes.max(self.window.bytes));
        let is_too_much = |from: usize| {
            let counts_from = from + usize::from(self.bytes(from..from + 1) > bytes);
            self.tail() - from > items || self.bytes(counts_from..self.tail()) > bytes
        };
        self.sent = (self.sent..self.tail()).find(|from| !is_too_much(*from)).unwrap_or(self.tail());
        self.trim();
    }

    fn trim(&mut self) {
        while self.first < self.sent && self.is_beyond_window(self.sent) {
            self.first += 1;
        }
    }

    fn take(&mut self, budget: usize) -> Option<String> {
        let waiting = &self.history[self.sent..];
        let (count, frame) = match waiting.first() {
            Some((Kind::Frame, text)) => (1, format!("<{text}>")),
            None if self.news.is_none() => return None,
            _ => {
                let before = |at: usize| waiting[..at].iter().map(|(_, text)| text.len()).sum::<usize>();
                let fits = |at: &usize| before(*at) < budget && waiting[*at].0 != Kind::Frame;
                let count = (0..waiting.len()).take_while(fits).count();
                let is_shown = |kind| kind != Kind::Nothing && !(self.mutes && kind == Kind::Muted);
                let shown = waiting[..count].iter().filter(|(kind, _)| is_shown(*kind)).map(|(_, text)| &**text);
                let elements: String =
                    self.news.iter().map(|news| &**news).chain(shown).fold(String::new(), |all, one| all + one + " ");
                self.news = None;
                (count, format!("[{elements}@{}]", self.sent + count))
            }
        };
        self.forget_frames(self.sent..self.sent + count);
        self.sent += count;
        self.counted.taken += count as u64;
        self.trim();
        Some(frame)
    }

    fn forget_frames(&mut self, places: std::ops::Range<usize>) {
        for item in &mut self.history[places] {
            if item.0 == Kind::Frame {
                *item = (Kind::Nothing, String::new());
            }
        }
    }

    fn attach(&mut self, resume: Resume) -> bool {
        (self.is_attached, self.mutes, self.news) = (true, true, None);
        if self.window.items > 0 {
            self.hold_for_return();
        }
        let wanted = match resume {
            Resume::Waiting => self.sent as u64,
            Resume::From(cursor) => cursor,
            Resume::Tail => self.tail() as u64,
        };
        self.sent = wanted.clamp(self.first as u64, self.tail() as u64) as usize;
        self.forget_frames(self.first..self.tail());
        self.replayed_until = if self.window.items > 0 { self.tail() } else { 0 };
        wanted != self.sent as u64
    }

    fn detach(&mut self) {
        self.is_attached = false;
        if self.window.items > 0 {
            self.hold_for_return();
        }
    }

    fn abandon(&mut self) {
        (self.is_closed, self.news) = (true, None);
        (self.first, self.sent) = (self.tail(), self.tail());
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let kind = prop_oneof![
        4 => Just(Kind::Call),
        2 => Just(Kind::Muted),
        2 => Just(Kind::Own),
        1 => Just(Kind::Frame),
        1 => Just(Kind::Nothing),
    ];
    let resume = prop_oneof![Just(Resume::Waiting), Just(Resume::Tail), (0..60_u64).prop_map(Resume::From)];
    let step = prop_oneof![
        40 => (kind, 0..9_usize).prop_map(|(kind, length)| Step::Push(kind, length)),
        20 => (1..20_usize).prop_map(Step::Take),
        8 => resume.prop_map(Step::Attach),
        4 => Just(Step::Detach),
        4 => Just(Step::Tell),
        1 => Just(Step::Finish),
        1 => Just(Step::Abandon),
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

fn item(kind: Kind, text: &str) -> QueueEntry {
    match kind {
        Kind::Call => call(text),
        Kind::Muted => call_from(text, Source::Group(room("quiet"))),
        Kind::Own => own(text),
        Kind::Frame => frame(text),
        Kind::Nothing => QueueEntry::NOTHING,
    }
}

/// The text of a push: it names its place, as far as its length allows.
fn text_of(kind: Kind, place: usize, length: usize) -> String {
    let name = format!("{place}........");
    if kind == Kind::Nothing { String::new() } else { name[..length].to_owned() }
}

fn follow(queue: &mut Queue, model: &mut Model, step: Step) -> Result<(), TestCaseError> {
    match step {
        Step::Push(kind, length) => {
            let text = text_of(kind, model.tail(), length);
            let push = queue.push(item(kind, &text));
            prop_assert_eq!(push, model.push(kind, &text));
            if push == Push::Overflowed {
                queue.abandon(END);
                model.abandon();
            }
        }
        Step::Take(budget) => prop_assert_eq!(take(queue, budget), model.take(budget)),
        Step::Attach(resume) => {
            let view = ChannelFilter { hubs: None, muted: HashSet::from([room("quiet")]) };
            prop_assert_eq!(queue.attach(resume, view), model.attach(resume));
        }
        Step::Detach => {
            queue.detach();
            model.detach();
        }
        Step::Tell => {
            queue.fields_mut().news = Some(b"news".as_slice().into());
            model.news = Some("news".into());
        }
        Step::Finish => {
            queue.finish(END);
            model.is_closed = true;
        }
        Step::Abandon => {
            queue.abandon(END);
            model.abandon();
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_queue_behaves_like_the_whole_history_would(limits in limits(), window in windows(), steps in steps()) {
        let (mut queue, mut model) = (Queue::new(&FORM, limits, window), Model::new(limits, window));
        for step in steps {
            follow(&mut queue, &mut model, step)?;
            prop_assert_eq!(queue.backlog(), model.backlog());
            prop_assert_eq!((queue.cursor(), queue.tail()), (model.sent as u64, model.tail() as u64));
            prop_assert_eq!(queue.is_open(), !model.is_closed);
            let is_due = model.news.is_some() || model.backlog().items > 0 || model.is_closed;
            prop_assert_eq!((queue.is_due(), queue.is_idle()), (is_due, model.backlog().items == 0));
            prop_assert_eq!(queue.end().is_some(), model.is_closed && model.backlog().items == 0);
        }
    }
}
