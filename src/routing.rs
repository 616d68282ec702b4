//! Routing: from the name of a model to the targets that can serve it.
//!
//! A [`Plan`] says which target is asked, and which one after a failure that no client has seen.
//! Its parts: [`verdict`] is what a failure says of a target, [`health`] what many of them do to
//! it, `choose` picks among equal targets, and a second one is asked beside the first after the
//! time that `first_tokens` tells. Nothing is sent here: that is `generation`'s.
//!
//! ```
//! use std::sync::Arc;
//! use tokenrill::provider::mock::Mock;
//! use tokenrill::routing::{ModelTargets, Route, Routes, Target};
//!
//! let target = Target::new(Arc::new(Mock::new(0, Default::default())), "mock-fast");
//! let route = Route { name: "fast".to_owned(), model: Arc::new(ModelTargets::of(target)) };
//! let routes = Routes::new(vec![route], None, None);
//! let plan = routes.plan("fast")?;
//! assert_eq!(plan.current().upstream_model, "mock-fast");
//! assert_eq!(routes.plan("slow").unwrap_err().code(), "model_not_found");
//! # Ok::<(), dialect::failure::Failure>(())
//! ```

mod admission;
mod affinity;
mod budget;
mod choose;
mod first_tokens;
pub mod health;
mod makers;
mod plan;
mod recent;
mod told;
pub mod verdict;

use std::sync::Arc;
use std::time::Duration;

use crate::config::{ModelSizes, ModelTimeouts};
use crate::provider::Provider;
use admission::Queue;
use affinity::Homes;
use budget::Budget;
use dialect::Parameters;
use dialect::failure::Failure;
use first_tokens::FirstTokenTimes;

pub use crate::config::{
    Affinity, BreakerOptions, Choose, ContinuationRules, ContinueBy, ContinueTurn, LAST_WORDS,
    ResumeBy, RetryBudget, RoutingRules,
};
pub use admission::Places;
pub use health::Health;
pub use makers::Makers;
pub use plan::{Judged, Next, Plan};
pub use verdict::{Sent, Verdict, breaks_off, judge, may_be_continued};

/// The longest part of an unknown model's name that is quoted to the client, in characters.
const MAX_QUOTED_CHARS: usize = 80;

/// A model by the name that clients ask for, and its targets.
#[derive(Debug, Clone)]
pub struct Route {
    /// The name that clients ask for.
    pub name: String,
    /// The targets that serve it.
    pub model: Arc<ModelTargets>,
}

/// A provider, and its own name for a model.
#[derive(Debug, Clone)]
pub struct Target {
    /// The provider.
    pub provider: Arc<dyn Provider>,
    /// The provider's name for the model.
    pub upstream_model: String,
    /// The time limits of the model's own.
    pub timeouts: ModelTimeouts,
    /// The largest sizes of the model's own.
    pub sizes: ModelSizes,
    /// The changes to the parameters of the model's requests.
    pub parameters: Arc<Parameters>,
    /// Targets of a higher tier are asked when those of the lower ones can't be.
    pub tier: u8,
    /// The share of requests among the targets of a tier.
    pub weight: u32,
    /// The time limit of its first token, where it has one of its own.
    pub first_token: Option<Duration>,
    /// The way in which it is asked to go on with an answer, if its model does not decide.
    pub continue_by: Option<ContinueBy>,
    /// The way in which it is asked again for the rest of an answer that broke, if it is.
    pub resume: Option<ResumeBy>,
    /// Its health, which all workers share.
    pub health: Arc<Health>,
    /// The places of its provider, if they are counted.
    pub places: Option<Places>,
}

impl Target {
    /// Returns a target of the first tier that was never asked.
    #[must_use]
    pub fn new(provider: Arc<dyn Provider>, upstream_model: &str) -> Self {
        Self {
            provider,
            upstream_model: upstream_model.to_owned(),
            timeouts: ModelTimeouts::default(),
            sizes: ModelSizes::default(),
            parameters: Arc::default(),
            tier: 0,
            weight: 1,
            first_token: None,
            continue_by: None,
            resume: None,
            health: Arc::new(Health::new(BreakerOptions::default())),
            places: None,
        }
    }

    /// Checks the size of a request's body.
    ///
    /// # Errors
    ///
    /// When the model takes only smaller ones.
    pub fn check_body(&self, size: usize) -> Result<(), Failure> {
        match self.sizes.body.filter(|limit| size > *limit) {
            Some(limit) => Err(Failure::body_too_large(limit)),
            None => Ok(()),
        }
    }

    /// Returns the way in which it is asked to go on with an answer.
    #[must_use]
    pub fn continue_by(&self) -> ContinueBy {
        let takes_prefill = || self.provider.takes_prefill(&self.upstream_model);
        match self.continue_by {
            Some(ContinueBy::Prefill) | None if self.health.refuses_prefill() => ContinueBy::Turn,
            Some(by) => by,
            None if takes_prefill() => ContinueBy::Prefill,
            None => ContinueBy::Turn,
        }
    }
}

/// The targets of one model.
#[derive(Debug)]
pub struct ModelTargets {
    targets: Vec<Target>,
    rules: RoutingRules,
    /// Set if there is one target, and it is asked once, whatever its health.
    is_simple: bool,
    /// Set if two providers speak the same dialect: each may seal what the other can't read.
    binds_seals: bool,
    /// `None` if it is simple, and nothing is counted.
    limits: Option<Arc<ModelLimits>>,
    /// Set for a name that is passed on as it is: the targets' health is that of all such names.
    is_fallback: bool,
}

impl ModelTargets {
    /// Returns one target, which is asked once.
    #[must_use]
    pub fn of(target: Target) -> Self {
        Self {
            targets: vec![target],
            rules: RoutingRules {
                choose: Choose::First,
                attempts: 1,
                retry_budget: RetryBudget {
                    share: 0.0,
                    per_second: 0,
                },
                retry_uncertain: false,
                affinity: Affinity::None,
                max_wait: Duration::ZERO,
                max_waiting: 0,
                hedge: false,
                continuation: None,
            },
            is_simple: true,
            binds_seals: false,
            limits: None,
            is_fallback: false,
        }
    }

    /// Returns several targets, or one that may be asked again. Workers share the limits.
    #[must_use]
    pub fn new(targets: Vec<Target>, rules: RoutingRules, limits: Arc<ModelLimits>) -> Self {
        let is_simple = targets.len() == 1 && rules.attempts == 1;
        let is_counted = targets.iter().any(|target| target.places.is_some());
        Self {
            binds_seals: shares_dialect(&targets),
            targets,
            rules,
            is_simple,
            limits: (!is_simple || is_counted).then_some(limits),
            is_fallback: false,
        }
    }

    /// Returns the budget of retries, unless nothing is ever sent again.
    fn budget(&self) -> Option<&Budget> {
        let limits = self.limits.as_ref().filter(|_| !self.is_simple);
        limits.map(|limits| &limits.budget)
    }

    /// Returns these targets for a model of that name, which is passed on as it is.
    fn with_name(&self, name: &str) -> Self {
        let targets = self.targets.iter().map(|target| Target {
            upstream_model: name.to_owned(),
            ..target.clone()
        });
        Self {
            targets: targets.collect(),
            rules: self.rules.clone(),
            is_simple: self.is_simple,
            binds_seals: self.binds_seals,
            limits: self.limits.clone(),
            is_fallback: true,
        }
    }
}

/// Returns whether two of the targets have providers of the same dialect.
fn shares_dialect(targets: &[Target]) -> bool {
    let dialect = |target: &Target| target.provider.dialect().map(|dialect| dialect.name);
    let mut numbered = targets.iter().enumerate();
    numbered.any(|(number, one)| {
        targets[..number].iter().any(|other| {
            let is_same = dialect(one).is_some() && dialect(one) == dialect(other);
            is_same && one.provider.name() != other.provider.name()
        })
    })
}

/// The limits on all requests for a model together, which workers share.
#[derive(Debug)]
pub struct ModelLimits {
    /// The budget of retries.
    budget: Budget,
    /// The bound on those that wait.
    queue: Queue,
    /// The times to the first token, if requests are hedged.
    first_tokens: Option<FirstTokenTimes>,
    /// The targets that conversations had of late.
    homes: Homes,
}

impl ModelLimits {
    /// Returns limits of which nothing was used yet.
    #[must_use]
    pub fn new(rules: &RoutingRules) -> Self {
        Self {
            budget: Budget::new(rules.retry_budget),
            queue: Queue::new(rules.max_waiting),
            first_tokens: rules.hedge.then(FirstTokenTimes::new),
            homes: Homes::new(),
        }
    }
}

/// The models of this server, by name.
#[derive(Debug)]
pub struct Routes {
    routes: Vec<Route>,
    /// The targets of every other name, which is passed on as it is.
    fallback: Option<Arc<ModelTargets>>,
    default: Option<String>,
    makers: Arc<Makers>,
}

impl Routes {
    /// Returns a routing table. Requests that name no model get `default`, or else the first route.
    #[must_use]
    pub fn new(
        routes: Vec<Route>,
        fallback: Option<Arc<ModelTargets>>,
        default: Option<String>,
    ) -> Self {
        let default = default.or_else(|| routes.first().map(|route| route.name.clone()));
        Self {
            routes,
            fallback,
            default,
            makers: Arc::default(),
        }
    }

    /// Shares what is known of the makers of stored responses.
    #[must_use]
    pub fn with_makers(self, makers: Arc<Makers>) -> Self {
        Self { makers, ..self }
    }

    /// Returns the name of the provider that made a response, if that is remembered.
    #[must_use]
    pub fn maker_of(&self, id: &str) -> Option<Arc<str>> {
        self.makers.find(id)
    }

    /// Returns the plan for a model's name.
    ///
    /// # Errors
    ///
    /// [`Failure::unknown_model`], which lists the known ones.
    pub fn plan(&self, name: &str) -> Result<Plan, Failure> {
        if let Some(route) = self.routes.iter().find(|route| route.name == name) {
            return Ok(self.plan_of(route.model.clone()));
        }
        let serves = |model: &&Arc<ModelTargets>| {
            let mut targets = model.targets.iter();
            targets.any(|target| target.provider.serves(name))
        };
        match self.fallback.as_ref().filter(serves) {
            Some(model) => Ok(self.plan_of(Arc::new(model.with_name(name)))),
            None => {
                let name: String = name.chars().take(MAX_QUOTED_CHARS).collect();
                let known: Vec<String> = self.names().map(str::to_owned).collect();
                Err(Failure::unknown_model(&name, &known))
            }
        }
    }

    fn plan_of(&self, model: Arc<ModelTargets>) -> Plan {
        Plan::new(model).with_makers(self.makers.clone())
    }

    /// Returns the model for requests that name none.
    ///
    /// # Errors
    ///
    /// A 400 when there is no such model.
    pub fn default_model(&self) -> Result<&str, Failure> {
        self.default.as_deref().ok_or_else(|| {
            Failure::invalid(
                "model",
                "`model` is missing, and this server is configured without a `default_model`",
            )
        })
    }

    /// Returns the first provider for every name that is not listed, if it can list its own.
    #[must_use]
    pub fn fallback(&self) -> Option<&Arc<dyn Provider>> {
        let model = self.fallback.as_ref()?;
        let provider = model.targets.first().map(|target| &target.provider);
        provider.filter(|provider| provider.dialect().is_some())
    }

    /// Returns a plan for each model, in the configuration's order; that of every other name is the
    /// last, and its targets have no name for the model.
    pub fn plans(&self) -> impl Iterator<Item = Plan> {
        let fallback = self.fallback.iter();
        let fallback = fallback.map(|model| Arc::new(model.with_name("")));
        let listed = self.routes.iter().map(|route| route.model.clone());
        listed.chain(fallback).map(|model| self.plan_of(model))
    }

    /// Returns the names of all models, in the configuration's order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.routes.iter().map(|route| route.name.as_str())
    }
}
