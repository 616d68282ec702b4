//! The stage of an answer: what its client has seen of it.

use bytes::Bytes;
use dialect::ResponseMeta;

use super::contender::Hedge;
use super::hold::Hold;

/// The stage of an answer.
#[derive(Debug, Default)]
pub(super) enum AnswerStage {
    /// Nothing was said, and another target could be asked.
    Unsaid(Box<Unsaid>),
    /// It broke, and another attempt that goes on with it has not said anything yet.
    Joining,
    /// The client sees what comes as it comes.
    #[default]
    Shown,
}

/// An answer that has not said anything yet.
#[derive(Debug)]
pub(super) struct Unsaid {
    pub(super) hold: Hold,
    /// For the writer of the next attempt.
    pub(super) meta: ResponseMeta,
    pub(super) hedge: Hedge,
}

impl AnswerStage {
    pub(super) fn unsaid(meta: ResponseMeta) -> Self {
        Self::Unsaid(Box::new(Unsaid {
            hold: Hold::default(),
            meta,
            hedge: Hedge::None,
        }))
    }

    /// Holds a run of frames. Returns false if it is one too many, or nothing is held.
    pub(super) fn hold(&mut self, run: &Bytes) -> bool {
        match self {
            Self::Unsaid(answer) => answer.hold.add(run),
            Self::Joining | Self::Shown => false,
        }
    }

    #[inline]
    pub(super) fn is_shown(&self) -> bool {
        matches!(self, Self::Shown)
    }

    pub(super) fn is_unsaid(&self) -> bool {
        matches!(self, Self::Unsaid(_))
    }

    /// Returns whether two targets are asked at a time.
    pub(super) fn is_racing(&self) -> bool {
        matches!(self, Self::Unsaid(answer) if matches!(answer.hedge, Hedge::Racing(_)))
    }

    pub(super) fn is_joining(&self) -> bool {
        matches!(self, Self::Joining)
    }
}
