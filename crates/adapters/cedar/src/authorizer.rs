//! The authorizer.

use std::sync::{Arc, PoisonError, RwLock};

use arbiter_core::model::{Operation, Principal, Target};
use arbiter_core::ports::{AuthorizationError, Authorizer, BoxError, Verdict};
use cedar_policy::{Decision, PolicySet, Schema};

use crate::cache::{Cache, Class};
use crate::error::PolicyError;
use crate::policies;
use crate::request::Names;

/// Decides by Cedar policies.
pub struct CedarAuthorizer {
    schema: Schema,
    names: Names,
    /// Swapped whole, so that a decision is made by one set from beginning to end.
    active: RwLock<Arc<Active>>,
}

/// The policies in force.
struct Active {
    policies: PolicySet,
    version: u64,
    /// Only while the default policies are alone: operators' may look at anything, names of single tasks included.
    cache: Option<Cache>,
}

impl std::fmt::Debug for CedarAuthorizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CedarAuthorizer")
            .field("version", &self.version())
            .finish_non_exhaustive()
    }
}

impl CedarAuthorizer {
    /// The default policies with `extra` ones, each a file name and its text.
    ///
    /// # Errors
    /// [`PolicyError`] naming the file and line, or the policies that do not fit the schema.
    pub fn new(extra: &[(String, String)]) -> Result<Self, PolicyError> {
        let schema = policies::schema()?;
        let names = Names::new().map_err(|error| PolicyError::Invalid(vec![error.to_string()]))?;
        let active = Active::new(&schema, extra, 1)?;
        Ok(Self {
            schema,
            names,
            active: RwLock::new(Arc::new(active)),
        })
    }

    /// Replaces the extra policies. Decisions under way are made by the old set. Gives the new version.
    ///
    /// # Errors
    /// [`PolicyError`]; the set in force stays in force.
    pub fn replace(&self, extra: &[(String, String)]) -> Result<u64, PolicyError> {
        let mut active = self.active.write().unwrap_or_else(PoisonError::into_inner);
        let version = active.version + 1;
        *active = Arc::new(Active::new(&self.schema, extra, version)?);
        Ok(version)
    }

    /// Counts the sets of policies that were in force, from 1.
    pub fn version(&self) -> u64 {
        self.active().version
    }

    /// Decides by the policies themselves, without the cache.
    ///
    /// # Errors
    /// [`AuthorizationError`] when the policies could not be evaluated.
    pub fn decide(
        &self,
        principal: &Principal,
        operation: Operation,
        target: &Target,
    ) -> Result<Verdict, AuthorizationError> {
        self.evaluate(&self.active(), principal, operation, target)
            .map_err(AuthorizationError)
    }

    fn active(&self) -> Arc<Active> {
        Arc::clone(&self.active.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn evaluate(
        &self,
        active: &Active,
        principal: &Principal,
        operation: Operation,
        target: &Target,
    ) -> Result<Verdict, BoxError> {
        let (request, entities) = self.names.request(principal, operation, target)?;
        let response = cedar_policy::Authorizer::new().is_authorized(&request, &active.policies, &entities);
        // A policy that fails to evaluate is skipped by Cedar; a skipped `forbid` must not become a permission.
        if let Some(error) = response.diagnostics().errors().next() {
            return Err(error.to_string().into());
        }
        Ok(match response.decision() {
            Decision::Allow => Verdict::Allowed,
            Decision::Deny => Verdict::Denied,
        })
    }
}

impl Active {
    fn new(schema: &Schema, extra: &[(String, String)], version: u64) -> Result<Self, PolicyError> {
        let policies = policies::load(schema, extra)?;
        Ok(Self {
            policies,
            version,
            cache: extra.is_empty().then(Cache::default),
        })
    }
}

impl Authorizer for CedarAuthorizer {
    fn authorize(
        &self,
        principal: &Principal,
        operation: Operation,
        target: &Target,
    ) -> Result<Verdict, AuthorizationError> {
        let active = self.active();
        let Some(cache) = &active.cache else {
            return self
                .evaluate(&active, principal, operation, target)
                .map_err(AuthorizationError);
        };
        let class = Class::of(principal, operation, target);
        if let Some(verdict) = cache.get(&class) {
            return Ok(verdict);
        }
        let verdict = self
            .evaluate(&active, principal, operation, target)
            .map_err(AuthorizationError)?;
        cache.put(class, verdict);
        Ok(verdict)
    }
}
