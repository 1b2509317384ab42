//! The authorizer.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use arbiter_core::model::{Operation, Principal, Target};
use arbiter_core::ports::{
    AuthorizationError, Authorizer, BoxError, NamedPolicy, PolicyEngine, PolicyFile, PolicyProblems, Verdict,
};
use cedar_policy::{Decision, PolicySet, Schema};

use crate::cache::{Cache, Class};
use crate::error::problem;
use crate::policies;
use crate::request::Names;

/// Decides by Cedar policies.
pub struct CedarAuthorizer {
    schema: Schema,
    names: Names,
    /// Those of the configuration; they stay.
    base: Vec<PolicyFile>,
    /// Held while other policies are put into force, so that reading them does not stop decisions.
    turn: Mutex<()>,
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
    /// The default policies with `extra` ones, each a file name and its text. All of them stay in force for good.
    ///
    /// # Errors
    /// [`PolicyProblems`] naming files and lines.
    pub fn new(extra: &[(String, String)]) -> Result<Self, PolicyProblems> {
        let schema = policies::schema()?;
        let names =
            Names::new().map_err(|error| PolicyProblems(vec![problem("names", None, error.to_string())]))?;
        let file = |(name, text): &(String, String)| PolicyFile {
            name: name.clone(),
            text: text.clone(),
        };
        let base: Vec<PolicyFile> = extra.iter().map(file).collect();
        let active = Active::new(&schema, &base, &[], 1)?;
        Ok(Self {
            schema,
            names,
            base,
            turn: Mutex::new(()),
            active: RwLock::new(Arc::new(active)),
        })
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
    fn new(
        schema: &Schema,
        base: &[PolicyFile],
        files: &[PolicyFile],
        version: u64,
    ) -> Result<Self, PolicyProblems> {
        let policies = policies::load(schema, base, files)?.set;
        Ok(Self {
            policies,
            version,
            cache: (base.is_empty() && files.is_empty()).then(Cache::default),
        })
    }
}

impl PolicyEngine for CedarAuthorizer {
    fn check(&self, files: &[PolicyFile]) -> Result<Vec<NamedPolicy>, PolicyProblems> {
        policies::load(&self.schema, &self.base, files).map(|loaded| loaded.named)
    }

    fn trial(
        &self,
        files: &[PolicyFile],
        principal: &Principal,
        operation: Operation,
        target: &Target,
    ) -> Result<Verdict, PolicyProblems> {
        let tried = Active::new(&self.schema, &self.base, files, 0)?;
        let decided = self.evaluate(&tried, principal, operation, target);
        Ok(decided.unwrap_or(Verdict::Denied))
    }

    fn replace(&self, files: &[PolicyFile]) -> Result<u64, PolicyProblems> {
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let version = self.version() + 1;
        let next = Arc::new(Active::new(&self.schema, &self.base, files, version)?);
        *self.active.write().unwrap_or_else(PoisonError::into_inner) = next;
        drop(turn);
        Ok(version)
    }

    fn version(&self) -> u64 {
        self.active().version
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
