//! What a vendor's "no" means, as its client judges it.

use crate::base::ErrorKind;
use crate::base::http::StatusCode;

/// What an answer that is not a success means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The key may not do this.
    Access,
    /// The key is not good.
    Credentials,
    /// Not now.
    Later,
    /// The address leads to no such interface.
    NoEndpoint,
    /// There is no money left, or no quota of a kind that money buys.
    Money,
    /// The queue is full; so much fits in.
    QueueFull(Option<u64>),
    /// The body is too large.
    TooLarge,
    /// It broke in a way that leaves open what was done.
    Unclear,
    /// Nothing of that name, for this account.
    Unseen,
    /// The request is wrong.
    Wrong,
}

impl Verdict {
    /// What the status alone says.
    pub(super) fn of(status: StatusCode) -> Self {
        match status.as_u16() {
            401 => Verdict::Credentials,
            402 => Verdict::Money,
            403 => Verdict::Access,
            404 | 410 => Verdict::Unseen,
            413 => Verdict::TooLarge,
            429 => Verdict::Later,
            408 | 409 | 500.. => Verdict::Unclear,
            _ => Verdict::Wrong,
        }
    }

    /// The kind of error that it is.
    pub(super) fn kind(&self) -> ErrorKind {
        use Verdict as V;
        match self {
            V::Access | V::Credentials | V::Money | V::Unseen => ErrorKind::Refused,
            V::Later | V::QueueFull(_) | V::Unclear => ErrorKind::Unavailable,
            V::NoEndpoint | V::TooLarge | V::Wrong => ErrorKind::Invalid,
        }
    }

    /// What an error says of it.
    pub(super) fn sentence(&self) -> &'static str {
        match self {
            Verdict::Access => "the provider denies access",
            Verdict::Credentials => "the provider refuses the key",
            Verdict::Later => "the provider asks to come back later",
            Verdict::NoEndpoint => "there is no such endpoint",
            Verdict::Money => "the provider refuses for want of credit or quota",
            Verdict::QueueFull(_) => "the provider's queue is full",
            Verdict::TooLarge => "the provider finds the body too large",
            Verdict::Unclear => "the provider failed",
            Verdict::Unseen => "the provider shows this account nothing of that name",
            Verdict::Wrong => "the provider refuses the request",
        }
    }

    /// What to do about it, if anything; `key_env` is where the key is from.
    pub(super) fn hint(&self, key_env: &str) -> Option<String> {
        Some(match self {
            Verdict::Access => format!(
                "the key in {key_env} may lack a right, or the account may lack access to the model"
            ),
            Verdict::Credentials => {
                format!("check the key in {key_env}, and that it is for base_url")
            }
            Verdict::Money => "check the account's credit, quota and spend limits".to_owned(),
            Verdict::Unseen => format!(
                "what one account made no other can see: was the key in {key_env} changed, or base_url?"
            ),
            _ => return None,
        })
    }
}

/// A vendor's reading of an answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    /// What it means.
    pub(super) verdict: Verdict,
    /// The vendor's word for it; empty where there is none.
    pub(super) code: String,
    /// The vendor's sentence.
    pub(super) message: String,
}

/// A vendor's judgement: the status and the body of an answer that is not a success.
pub(super) type Judge = fn(StatusCode, &[u8]) -> Complaint;
