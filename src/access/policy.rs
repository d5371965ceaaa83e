//! The rules, as Cedar policies: loading, checking and asking them. They are held against the schema once, when they are loaded,
//! together with every form of question that the program can ask. Whatever goes wrong while they are asked is a refusal.

use std::fmt;

use cedar_policy::{
    Authorizer, CedarSchemaError, Decision, ParseErrors, PolicyId, PolicySet, Schema, ValidationMode, Validator,
};

use super::permit::Permit;
use super::question::{Resource, SEE_SENSITIVE, Unaskable, Vocabulary};
use crate::domain::action::Action;
use crate::domain::record::RecordFacts;
use crate::domain::sensitive::SensitiveKind;

const SCHEMA: &str = include_str!("policy/schema.cedarschema");
const DEFAULT_POLICY: &str = include_str!("policy/default.cedar");

/// Policies that fit their schema.
pub struct Policies {
    authorizer: Authorizer,
    policies: PolicySet,
    vocabulary: Vocabulary,
}

/// Why policies cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The schema is no Cedar schema.
    #[error("the policy schema cannot be read; correct it: {0}")]
    Schema(#[source] Box<CedarSchemaError>),
    /// The policies are no Cedar policies.
    #[error("the policies cannot be read; correct them: {0}")]
    Syntax(#[source] Box<ParseErrors>),
    /// The policies ask for something that the schema does not have, or a rule could never apply.
    #[error("the policies do not fit their schema; correct them: {}", .findings.join("; "))]
    Unfit {
        /// One sentence for each finding.
        findings: Vec<String>,
    },
    /// The schema does not describe the questions that this program asks.
    #[error("the policy schema does not fit this program at {action}; use the one that came with it: {difference}")]
    OtherSchema {
        /// The action at which it differs.
        action: &'static str,
        /// What differs.
        #[source]
        difference: Unaskable,
    },
}

impl Policies {
    /// The policy that comes with the program.
    pub fn default_policy() -> Self {
        Self::load(SCHEMA, DEFAULT_POLICY).expect("the default policy fits its schema: a test loads it")
    }

    /// The text of that policy.
    pub fn default_text() -> &'static str {
        DEFAULT_POLICY
    }

    /// An operator's policy in the place of the default one; the schema stays.
    pub fn of_operator(policy_text: &str) -> Result<Self, PolicyError> {
        Self::load(SCHEMA, policy_text)
    }

    /// Reads policies and checks them strictly against a schema. A warning counts as an error: a rule that can never apply may
    /// be a `forbid` that somebody relies on.
    pub fn load(schema_text: &str, policy_text: &str) -> Result<Self, PolicyError> {
        let (schema, _) = Schema::from_cedarschema_str(schema_text).map_err(|e| PolicyError::Schema(Box::new(e)))?;
        let policies: PolicySet = policy_text.parse().map_err(|e| PolicyError::Syntax(Box::new(e)))?;
        let mut findings = findings(&schema, &policies);
        // One that nothing fills in is passed over without a word, even a `forbid`.
        findings.extend(policies.templates().map(|one| format!("{} is a template, and nothing fills it in", one.id())));
        if !findings.is_empty() {
            return Err(PolicyError::Unfit { findings });
        }
        let vocabulary = Vocabulary::of(&schema);
        for action in Action::ALL {
            vocabulary
                .try_out(action, &schema)
                .map_err(|difference| PolicyError::OtherSchema { action: action.name(), difference })?;
        }
        let sees = |difference| PolicyError::OtherSchema { action: SEE_SENSITIVE, difference };
        vocabulary.try_out_sensitive(&schema).map_err(sees)?;
        Ok(Self { authorizer: Authorizer::new(), policies, vocabulary })
    }

    /// Whether what `permit` says is allowed. The permit is not given away before this is answered.
    pub(super) fn allow<R: Resource>(&self, permit: &Permit<R>) -> bool {
        let Ok((request, entities)) = self.vocabulary.question(&permit.asked(), None) else { return false };
        let response = self.authorizer.is_authorized(&request, &self.policies, &entities);
        // Cedar passes over a rule that it cannot evaluate, even a `forbid`. Here that is a refusal.
        response.decision() == Decision::Allow && response.diagnostics().errors().next().is_none()
    }

    /// Whether whoever holds `permit` sees what is sensitive in the record and of this kind.
    pub(super) fn shows(&self, permit: &Permit<RecordFacts>, kind: SensitiveKind) -> bool {
        let Ok((request, entities)) = self.vocabulary.sensitive(&permit.asked(), kind, None) else { return false };
        let response = self.authorizer.is_authorized(&request, &self.policies, &entities);
        response.decision() == Decision::Allow && response.diagnostics().errors().next().is_none()
    }

    /// The same, with what decided.
    pub(super) fn explain<R: Resource>(&self, permit: &Permit<R>) -> Verdict {
        let (request, entities) = match self.vocabulary.question(&permit.asked(), None) {
            Ok(question) => question,
            Err(error) => return Verdict { allowed: false, decided_by: Vec::new(), errors: vec![error.to_string()] },
        };
        let response = self.authorizer.is_authorized(&request, &self.policies, &entities);
        let name = |id: &PolicyId| self.policies.annotation(id, "id").map_or_else(|| id.to_string(), str::to_owned);
        let mut decided_by: Vec<String> = response.diagnostics().reason().map(name).collect();
        decided_by.sort();
        let errors: Vec<String> = response.diagnostics().errors().map(ToString::to_string).collect();
        Verdict { allowed: response.decision() == Decision::Allow && errors.is_empty(), decided_by, errors }
    }
}

impl fmt::Debug for Policies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Policies(..)")
    }
}

/// What the rules say to one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it is allowed.
    pub allowed: bool,
    /// The rules that decided, by their `@id`: those that permit, or those that forbid. Empty where nothing permits.
    pub decided_by: Vec<String>,
    /// Rules that could not be evaluated: with one of them, nothing is allowed.
    pub errors: Vec<String>,
}

fn findings(schema: &Schema, policies: &PolicySet) -> Vec<String> {
    let result = Validator::new(schema.clone()).validate(policies, ValidationMode::Strict);
    let errors = result.validation_errors().map(ToString::to_string);
    errors.chain(result.validation_warnings().map(ToString::to_string)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_policy_is_valid() {
        Policies::load(SCHEMA, DEFAULT_POLICY).map(|_| ()).unwrap();
    }

    #[test]
    fn bad_policies_are_refused_with_words() {
        let says = |schema: &str, policy: &str| Policies::load(schema, policy).err().unwrap().to_string();
        assert!(says("entity", DEFAULT_POLICY).starts_with("the policy schema cannot be read"));
        assert!(says(SCHEMA, "permit (principal").starts_with("the policies cannot be read"));
        let unfit = [
            r#"permit (principal is Principal, action, resource) when { principal.name == "ana" };"#,
            r#"permit (principal is Principal, action == Action::"GetRecrod", resource);"#,
            r#"forbid (principal is Principal, action == Action::"EraseCustomer", resource is Record);"#,
            // A template that nothing fills in would be passed over without a word.
            r#"forbid (principal == ?principal, action, resource);"#,
        ];
        for policy in unfit {
            assert!(says(SCHEMA, policy).starts_with("the policies do not fit their schema"), "{policy}");
        }
    }

    #[test]
    fn a_schema_that_differs_from_the_program_is_refused() {
        let changes = [
            ("of_system: Bool", "of_system: Long", "at CreateTranscript"),
            ("purpose: String", "purpose: Long", "at GetTranscript"),
            ("[Tenant, Record]", "[Tenant]", "at GetTranscript"),
            (", ListTokens", "", "at ListTokens"),
        ];
        for (from, to, at) in changes {
            let error = Policies::load(&SCHEMA.replace(from, to), "").err().unwrap().to_string();
            assert!(error.starts_with("the policy schema does not fit this program") && error.contains(at), "{error}");
        }
    }
}
