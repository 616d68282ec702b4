//! The key of a target whose upstream can be asked again for the rest of the same answer.

use std::collections::BTreeMap;

use super::key::Default::Said;
use super::key::{Key, Kind};
use super::reader::Reader;
use super::{MOCK, Model, Provider, ProviderName};

/// The way in which an upstream is asked again for the rest of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResumeBy {
    /// It keeps a stream of the answer for a while.
    Stream,
    /// It makes the response in the background, and stores it.
    Background,
}

pub(super) const RESUME: Key = Key::new(
    "resume",
    Kind::Word(&["off", "stream", "background"]),
    Said("`off`"),
    "how it is asked again for the rest of an answer that broke: `\"stream\"` of another tokenrill, `\"background\"` of OpenAI Responses; see [routing.md](routing.md#resuming)",
);

/// Reads the way in which a target is asked again; none if it is not.
pub(super) fn resume_by(reader: &mut Reader<'_>) -> Option<ResumeBy> {
    match reader.word(&RESUME)? {
        "stream" => Some(ResumeBy::Stream),
        "background" => Some(ResumeBy::Background),
        _ => None,
    }
}

/// Reports the targets that can't be asked again in the way that they should be.
pub(super) fn check_resume(
    reader: &mut Reader<'_>,
    models: &[Model],
    providers: &BTreeMap<ProviderName, Provider>,
) {
    for (at, model) in models.iter().enumerate() {
        for (number, target) in model.targets.iter().enumerate() {
            let place = format!("models.{at}.targets.{number}.{}", RESUME.path);
            if !reader.has_value(&place) {
                // Another one before it could not be read.
                continue;
            }
            let Some(resume) = target.resume else {
                continue;
            };
            let dialect = providers.get(&target.provider).map(|it| it.dialect);
            let problem = match (resume, dialect) {
                _ if target.provider.as_str() == MOCK => {
                    "is for upstreams across HTTP; the mock's answers don't break on the way"
                }
                (ResumeBy::Background, Some(dialect)) if dialect != "openai-responses" => {
                    "can be \"background\" only where the provider's dialect is openai-responses"
                }
                _ if model.rules.attempts == 1 => {
                    "asks the upstream again, which needs at least two `attempts`"
                }
                _ => continue,
            };
            reader.report(&place, problem);
        }
    }
}
