//! Builds the routing table of each worker, and what the tables of all workers share.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::{BreakerOptions, Config, Model, ProviderName};
use crate::provider::Provider;
use crate::provider::mock::MODELS;
use crate::routing::{Health, Makers, ModelLimits, ModelTargets, Places, Route, Routes, Target};

/// The health of targets, the places of providers and the limits of models, which all workers
/// share.
#[derive(Debug)]
pub(super) struct SharedRouting {
    /// By the provider and its name for the model; that of `*` is `*`.
    health: BTreeMap<(ProviderName, String), Arc<Health>>,
    /// Of the providers whose requests are counted.
    places: BTreeMap<ProviderName, Places>,
    /// In the order of the models.
    limits: Vec<Arc<ModelLimits>>,
    makers: Arc<Makers>,
}

impl SharedRouting {
    /// Returns the state of all targets and models of a configuration. What another one has alike
    /// goes on as it is.
    pub(super) fn new(config: &Config, before: Option<(&Config, &Self)>) -> Self {
        let mut health = BTreeMap::new();
        for model in &config.models {
            for target in &model.targets {
                let breaker = breaker_of(config, &target.provider);
                let key = (target.provider.clone(), upstream_model(model, target));
                let is_same = |old: &Config| breaker_of(old, &target.provider) == breaker;
                let known = before
                    .filter(|(old, _)| is_same(old))
                    .and_then(|(_, known)| known.health.get(&key).cloned());
                health
                    .entry(key)
                    .or_insert_with(|| known.unwrap_or_else(|| Arc::new(Health::new(breaker))));
            }
        }
        let places = config.providers.iter().filter_map(|(name, provider)| {
            let most = provider.max_in_flight?;
            let known = before.and_then(|(config, known)| {
                let same = config.providers.get(name)?.max_in_flight == Some(most);
                known.places.get(name).filter(|_| same).cloned()
            });
            Some((name.clone(), known.unwrap_or_else(|| Places::new(most))))
        });
        let limits = config.models.iter().map(|model| {
            let known = before.and_then(|(config, known)| {
                let mut models = config.models.iter().zip(&known.limits);
                let same = |old: &Model| old.name == model.name && old.rules == model.rules;
                Some(models.find(|(old, _)| same(old))?.1.clone())
            });
            known.unwrap_or_else(|| Arc::new(ModelLimits::new(&model.rules)))
        });
        Self {
            health,
            places: places.collect(),
            limits: limits.collect(),
            makers: before.map_or_else(Arc::default, |(_, known)| known.makers.clone()),
        }
    }

    /// Returns the targets of models that choose or ask again, by the provider and its name for the
    /// model. Of others no health is kept.
    pub(super) fn chosen_targets(&self, config: &Config) -> Vec<(String, String, Arc<Health>)> {
        let is_chosen = |key: &(ProviderName, String)| {
            let models = config.models.iter();
            let mut models =
                models.filter(|model| model.targets.len() > 1 || model.rules.attempts > 1);
            models.any(|model| {
                let mut targets = model.targets.iter();
                targets.any(|target| {
                    target.provider == key.0 && upstream_model(model, target) == key.1
                })
            })
        };
        let chosen = self.health.iter().filter(|(key, _)| is_chosen(key));
        let named = chosen.map(|((provider, model), health)| {
            (provider.as_str().to_owned(), model.clone(), health.clone())
        });
        named.collect()
    }

    /// Returns the routing table of a worker, which reaches upstreams by `providers`. What has no
    /// provider of that name is the mock's.
    pub(super) fn routes(
        &self,
        config: &Config,
        mock: Arc<dyn Provider>,
        providers: &BTreeMap<ProviderName, Arc<dyn Provider>>,
    ) -> Routes {
        let default = config.default_model.clone();
        if config.models.is_empty() {
            let model = |name: &str| Arc::new(ModelTargets::of(Target::new(mock.clone(), name)));
            let route = |name: &str| Route {
                name: name.to_owned(),
                model: model(name),
            };
            let routes = MODELS.iter().map(|(name, _)| route(name)).collect();
            // The names that end in other numbers.
            return Routes::new(routes, Some(model("*")), default);
        }
        let provider = |name: &ProviderName| providers.get(name).unwrap_or(&mock).clone();
        let mut fallback = None;
        let mut routes = Vec::new();
        for (model, limits) in config.models.iter().zip(&self.limits) {
            let parameters = Arc::new(model.parameters.clone());
            let targets = model.targets.iter().map(|target| {
                let name = upstream_model(model, target);
                let key = (target.provider.clone(), name.clone());
                let of_its_own = Target::new(provider(&target.provider), &name);
                Target {
                    timeouts: model.timeouts,
                    sizes: model.sizes,
                    parameters: parameters.clone(),
                    tier: target.tier,
                    weight: target.weight,
                    first_token: target.first_token,
                    places: self.places.get(&target.provider).cloned(),
                    continue_by: target.continue_by,
                    resume: target.resume,
                    health: self.health.get(&key).cloned().unwrap_or(of_its_own.health),
                    ..of_its_own
                }
            });
            let targets = ModelTargets::new(targets.collect(), model.rules.clone(), limits.clone());
            if model.name == "*" {
                fallback = Some(Arc::new(targets));
            } else {
                routes.push(Route {
                    name: model.name.clone(),
                    model: Arc::new(targets),
                });
            }
        }
        Routes::new(routes, fallback, default).with_makers(self.makers.clone())
    }
}

fn breaker_of(config: &Config, provider: &ProviderName) -> BreakerOptions {
    let provider = config.providers.get(provider);
    provider.map_or_else(BreakerOptions::default, |provider| provider.breaker)
}

fn upstream_model(model: &Model, target: &crate::config::Target) -> String {
    target.model.as_ref().unwrap_or(&model.name).clone()
}
