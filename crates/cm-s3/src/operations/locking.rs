//! Versions that must stay: configuration of buckets, retention, legal hold.

use cm_kernel::objects::{
    DefaultRetention as Default_, Locking, Mode, Period, Protection, ProtectionChange, Retention, VersionName,
};
use cm_kernel::policy::sharing::Use;
use cm_kernel::policy::{Grant, Permit, Read, Update};
use cm_types::{BucketName, ObjectKey};
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::reading::version_name;
use super::refusals::refuse;
use super::{Store, bucket_name, object_key};
use crate::caller::Caller;
use crate::codes::Code;
use crate::describe::{moment, time};
use crate::failure;

/// The longest default retention: the limits of S3.
const DAYS_MAX: u32 = 36_500;
const YEARS_MAX: u32 = 100;

impl Store {
    pub(super) async fn lock_configuration(
        &self,
        caller: Caller,
        request: S3Request<GetObjectLockConfigurationInput>,
    ) -> S3Result<S3Response<GetObjectLockConfigurationOutput>> {
        let bucket = bucket_name(request.input.bucket)?;
        let used = Use::GetBucketObjectLockConfiguration;
        let permit = self.permit_bucket::<Read>(&caller, used, &bucket).await?;
        let locking = self.kernel.objects().locking(&permit, &bucket).await.map_err(failure::object)?;
        let missing = || {
            let message = "versions of the bucket cannot be locked";
            S3Error::with_message(S3ErrorCode::ObjectLockConfigurationNotFoundError, message)
        };
        let rule = locking.ok_or_else(missing)?.default.map(|default| ObjectLockRule {
            default_retention: Some(DefaultRetention {
                mode: Some(mode_text(default.mode).to_owned().into()),
                days: match default.period {
                    Period::Days(days) => i32::try_from(days).ok(),
                    Period::Years(_) => None,
                },
                years: match default.period {
                    Period::Years(years) => i32::try_from(years).ok(),
                    Period::Days(_) => None,
                },
            }),
        });
        let configuration = ObjectLockConfiguration {
            object_lock_enabled: Some(ObjectLockEnabled::from_static(ObjectLockEnabled::ENABLED)),
            rule,
        };
        let output = GetObjectLockConfigurationOutput { object_lock_configuration: Some(configuration) };
        Ok(S3Response::new(output))
    }

    pub(super) async fn set_lock_configuration(
        &self,
        caller: Caller,
        request: S3Request<PutObjectLockConfigurationInput>,
    ) -> S3Result<S3Response<PutObjectLockConfigurationOutput>> {
        let input = request.input;
        refuse!(input; token);
        let configuration =
            input.object_lock_configuration.ok_or_else(|| malformed("a configuration is missing"))?;
        let is_enabled =
            configuration.object_lock_enabled.as_ref().is_some_and(|said| said.as_str() == "Enabled");
        if !is_enabled {
            return Err(malformed("locks are Enabled or not configured"));
        }
        let default = configuration.rule.map(|rule| {
            let default =
                rule.default_retention.ok_or_else(|| malformed("a rule has a `DefaultRetention`"))?;
            default_retention(default)
        });
        let locking = Locking { default: default.transpose()? };
        let bucket = bucket_name(input.bucket)?;
        let used = Use::PutBucketObjectLockConfiguration;
        let permit = self.permit_bucket::<Update>(&caller, used, &bucket).await?;
        let set = self.kernel.objects().set_locking(&permit, &bucket, locking, false).await;
        set.map_err(failure::object)?;
        Ok(S3Response::new(PutObjectLockConfigurationOutput::default()))
    }

    pub(super) async fn retention(
        &self,
        caller: Caller,
        request: S3Request<GetObjectRetentionInput>,
    ) -> S3Result<S3Response<GetObjectRetentionOutput>> {
        let input = request.input;
        let place = (input.bucket, input.key, input.version_id);
        let protection = self.protection(&caller, Use::GetObjectRetention, place).await?;
        let retention = protection.retention.ok_or_else(unprotected)?;
        let retention = ObjectLockRetention {
            mode: Some(mode_text(retention.mode).to_owned().into()),
            retain_until_date: Some(time(retention.until)),
        };
        Ok(S3Response::new(GetObjectRetentionOutput { retention: Some(retention) }))
    }

    pub(super) async fn set_retention(
        &self,
        caller: Caller,
        request: S3Request<PutObjectRetentionInput>,
    ) -> S3Result<S3Response<PutObjectRetentionOutput>> {
        let input = request.input;
        let said = input.retention.unwrap_or_default();
        let retention = match (said.mode, said.retain_until_date) {
            (None, None) => None,
            (Some(mode), Some(until)) => {
                let retention = Retention { mode: mode_of(mode.as_str())?, until: moment(&until) };
                require_future(&retention, self.kernel.now())?;
                Some(retention)
            }
            _ => return Err(malformed("a retention has a mode and a date")),
        };
        let change = ProtectionChange::Retention(retention);
        let bypass = input.bypass_governance_retention == Some(true);
        let place = (input.bucket, input.key, input.version_id);
        self.change_protection(&caller, Use::PutObjectRetention, place, change, bypass).await?;
        Ok(S3Response::new(PutObjectRetentionOutput::default()))
    }

    pub(super) async fn legal_hold(
        &self,
        caller: Caller,
        request: S3Request<GetObjectLegalHoldInput>,
    ) -> S3Result<S3Response<GetObjectLegalHoldOutput>> {
        let input = request.input;
        let place = (input.bucket, input.key, input.version_id);
        let protection = self.protection(&caller, Use::GetObjectLegalHold, place).await?;
        let held = protection.legal_hold.ok_or_else(unprotected)?;
        let hold = ObjectLockLegalHold { status: Some(hold_text(held).to_owned().into()) };
        Ok(S3Response::new(GetObjectLegalHoldOutput { legal_hold: Some(hold) }))
    }

    pub(super) async fn set_legal_hold(
        &self,
        caller: Caller,
        request: S3Request<PutObjectLegalHoldInput>,
    ) -> S3Result<S3Response<PutObjectLegalHoldOutput>> {
        let input = request.input;
        let status = input.legal_hold.and_then(|hold| hold.status);
        let held = hold_of(status.as_ref().map_or("", ObjectLockLegalHoldStatus::as_str))?;
        let place = (input.bucket, input.key, input.version_id);
        let change = ProtectionChange::LegalHold(held);
        self.change_protection(&caller, Use::PutObjectLegalHold, place, change, false).await?;
        Ok(S3Response::new(PutObjectLegalHoldOutput::default()))
    }

    async fn protection(
        &self,
        caller: &Caller,
        used: Use,
        (bucket, key, version): (String, String, Option<String>),
    ) -> S3Result<Protection> {
        let (bucket, key) = (bucket_name(bucket)?, object_key(key)?);
        let version: Option<VersionName> = version_name(version.as_deref())?;
        let permit = self.permit_object::<Read>(caller, used, &bucket, &key, version).await?;
        let info = self.kernel.objects().protected(&permit, &bucket, &key, version).await;
        Ok(info.map_err(failure::object)?.protection)
    }

    async fn change_protection(
        &self,
        caller: &Caller,
        used: Use,
        (bucket, key, version): (String, String, Option<String>),
        change: ProtectionChange,
        bypass: bool,
    ) -> S3Result<()> {
        let (bucket, key) = (bucket_name(bucket)?, object_key(key)?);
        let version = version_name(version.as_deref())?;
        let permit = self.permit_object::<Update>(caller, used, &bucket, &key, version).await?;
        let bypass = self.bypass(caller, &bucket, &key, version, bypass).await?;
        let changed =
            self.kernel.objects().protect(&permit, &bucket, &key, version, change, bypass.as_ref()).await;
        changed.map_err(failure::object)
    }

    /// Leave to do what a retention for governance forbids to this version, if it is asked for.
    pub(super) async fn bypass(
        &self,
        caller: &Caller,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionName>,
        wanted: bool,
    ) -> S3Result<Option<Permit<Grant>>> {
        if !wanted {
            return Ok(None);
        }
        let used = Use::BypassGovernanceRetention;
        self.permit_object::<Grant>(caller, used, bucket, key, version).await.map(Some)
    }
}

fn malformed(message: &'static str) -> S3Error {
    S3Error::with_message(S3ErrorCode::MalformedXML, message)
}

fn argument(message: &'static str) -> S3Error {
    S3Error::with_message(S3ErrorCode::InvalidArgument, message)
}

fn unprotected() -> S3Error {
    S3Error::with_message(S3ErrorCode::NoSuchObjectLockConfiguration, "nothing was said about the version")
}

fn mode_named(text: &str) -> Option<Mode> {
    match text {
        "GOVERNANCE" => Some(Mode::Governance),
        "COMPLIANCE" => Some(Mode::Compliance),
        _ => None,
    }
}

/// A mode that a document says.
fn mode_of(text: &str) -> S3Result<Mode> {
    mode_named(text).ok_or_else(|| malformed("the mode is GOVERNANCE or COMPLIANCE"))
}

/// A mode, as answers call it.
pub(crate) fn mode_text(mode: Mode) -> &'static str {
    match mode {
        Mode::Governance => "GOVERNANCE",
        Mode::Compliance => "COMPLIANCE",
    }
}

fn hold_named(text: &str) -> Option<bool> {
    match text {
        "ON" => Some(true),
        "OFF" => Some(false),
        _ => None,
    }
}

/// A legal hold that a document says.
fn hold_of(text: &str) -> S3Result<bool> {
    hold_named(text).ok_or_else(|| malformed("a legal hold is ON or OFF"))
}

/// A legal hold, as answers call it.
pub(crate) fn hold_text(held: bool) -> &'static str {
    if held { "ON" } else { "OFF" }
}

fn default_retention(said: DefaultRetention) -> S3Result<Default_> {
    let mode = mode_of(said.mode.as_ref().map_or("", ObjectLockRetentionMode::as_str))?;
    let positive = |number: i32| {
        u32::try_from(number)
            .ok()
            .filter(|number| *number > 0)
            .ok_or_else(|| Code::InvalidRetentionPeriod.error("a retention lasts for a day at least"))
    };
    let at_most = |number: u32, max: u32| match number <= max {
        true => Ok(number),
        false => Err(argument("a retention lasts for 36500 days or 100 years at most")),
    };
    let period = match (said.days, said.years) {
        (Some(days), None) => Period::Days(at_most(positive(days)?, DAYS_MAX)?),
        (None, Some(years)) => Period::Years(at_most(positive(years)?, YEARS_MAX)?),
        _ => return Err(malformed("a retention lasts for days or for years")),
    };
    Ok(Default_ { mode, period })
}

/// A retention that has passed would keep nothing.
fn require_future(retention: &Retention, now: cm_types::Timestamp) -> S3Result<()> {
    match retention.until > now {
        true => Ok(()),
        false => Err(S3Error::with_message(
            S3ErrorCode::InvalidArgument,
            "the date until which a version is retained must be in the future",
        )),
    }
}

/// What headers say about the protection of an object that is new now.
pub(super) fn said_protection(
    now: cm_types::Timestamp,
    mode: Option<&ObjectLockMode>,
    until: Option<&Timestamp>,
    hold: Option<&ObjectLockLegalHoldStatus>,
) -> S3Result<Protection> {
    let retention = match (mode, until) {
        (None, None) => None,
        (Some(mode), Some(until)) => {
            let mode =
                mode_named(mode.as_str()).ok_or_else(|| argument("the mode is GOVERNANCE or COMPLIANCE"))?;
            let retention = Retention { mode, until: moment(until) };
            require_future(&retention, now)?;
            Some(retention)
        }
        _ => {
            return Err(S3Error::with_message(
                S3ErrorCode::InvalidArgument,
                "a retention has a mode and a date",
            ));
        }
    };
    let held = |hold: &ObjectLockLegalHoldStatus| {
        hold_named(hold.as_str()).ok_or_else(|| argument("a legal hold is ON or OFF"))
    };
    let legal_hold = hold.map(held).transpose()?;
    Ok(Protection { retention, legal_hold })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code<T>(outcome: S3Result<T>) -> Option<String> {
        outcome.err().map(|error| error.code().as_str().to_owned())
    }

    #[test]
    fn headers_are_arguments_and_documents_are_well_formed() {
        let now = cm_types::Timestamp::from_micros(0);
        let until = time(cm_types::Timestamp::from_micros(1_000_000));
        let said = |mode: &str, hold: &str| {
            let (mode, hold) =
                (ObjectLockMode::from(mode.to_owned()), ObjectLockLegalHoldStatus::from(hold.to_owned()));
            code(said_protection(now, Some(&mode), Some(&until), Some(&hold)))
        };
        assert_eq!(said("GOVERNANCE", "ON"), None);
        assert_eq!(said("abc", "ON").as_deref(), Some("InvalidArgument"));
        assert_eq!(said("COMPLIANCE", "abc").as_deref(), Some("InvalidArgument"));
        assert_eq!(code(mode_of("abc")).as_deref(), Some("MalformedXML"));
        assert_eq!(code(hold_of("abc")).as_deref(), Some("MalformedXML"));
    }

    #[test]
    fn default_retention_ends_within_a_century() {
        let check = |days: Option<i32>, years: Option<i32>, expected: Option<&str>| {
            let mode = Some(ObjectLockRetentionMode::from_static(ObjectLockRetentionMode::GOVERNANCE));
            let found = code(default_retention(DefaultRetention { mode, days, years }));
            assert_eq!(found.as_deref(), expected, "{days:?} {years:?}");
        };
        check(Some(36_500), None, None);
        check(Some(36_501), None, Some("InvalidArgument"));
        check(None, Some(100), None);
        check(None, Some(101), Some("InvalidArgument"));
        check(Some(0), None, Some("InvalidRetentionPeriod"));
        check(Some(1), Some(1), Some("MalformedXML"));
    }
}
