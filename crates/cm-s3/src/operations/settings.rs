//! Settings of buckets: which pages may use them, and what is answered truly without being kept.

use cm_kernel::objects::Setting;
use cm_kernel::policy::sharing::Use;
use cm_kernel::policy::{Read, Update};
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::{Store, bucket_name};
use crate::caller::Caller;
use crate::cors::{RULES_MAX, Rule};
use crate::failure;

impl Store {
    pub(super) async fn kept(
        &self,
        caller: &Caller,
        used: Use,
        bucket: String,
        setting: Setting,
    ) -> S3Result<Option<String>> {
        let bucket = bucket_name(bucket)?;
        let permit = self.permit_bucket::<Read>(caller, used, &bucket).await?;
        self.kernel.objects().setting(&permit, &bucket, setting).await.map_err(failure::object)
    }

    pub(super) async fn keep(
        &self,
        caller: &Caller,
        used: Use,
        bucket: String,
        setting: Setting,
        value: Option<String>,
    ) -> S3Result<()> {
        let bucket = bucket_name(bucket)?;
        let permit = self.permit_bucket::<Update>(caller, used, &bucket).await?;
        let request = Some(caller.request.clone());
        let kept = self.kernel.objects().set_setting(&permit, &bucket, setting, value, request).await;
        kept.map_err(failure::object)
    }

    pub(super) async fn cors(
        &self,
        caller: Caller,
        request: S3Request<GetBucketCorsInput>,
    ) -> S3Result<S3Response<GetBucketCorsOutput>> {
        let found = self.kept(&caller, Use::GetBucketCors, request.input.bucket, Setting::Cors).await?;
        let missing = || {
            let message = "nothing was said about which pages may use the bucket";
            S3Error::with_message(S3ErrorCode::NoSuchCORSConfiguration, message)
        };
        let rules: Vec<Rule> = serde_json::from_str(&found.ok_or_else(missing)?)
            .map_err(|error| S3Error::with_source(S3ErrorCode::InternalError, Box::new(error)))?;
        let some = |texts: Vec<String>| Some(texts).filter(|texts| !texts.is_empty());
        let rules = rules.into_iter().map(|rule| CORSRule {
            allowed_headers: some(rule.headers),
            allowed_methods: rule.methods,
            allowed_origins: rule.origins,
            expose_headers: some(rule.exposed),
            id: rule.id,
            max_age_seconds: rule.max_age_seconds,
        });
        Ok(S3Response::new(GetBucketCorsOutput { cors_rules: Some(rules.collect()) }))
    }

    pub(super) async fn set_cors(
        &self,
        caller: Caller,
        request: S3Request<PutBucketCorsInput>,
    ) -> S3Result<S3Response<PutBucketCorsOutput>> {
        let said = request.input.cors_configuration.cors_rules;
        if said.is_empty() || said.len() > RULES_MAX {
            return Err(S3Error::with_message(S3ErrorCode::MalformedXML, "there are 1 to 100 rules"));
        }
        let rules = said.into_iter().map(|rule| Rule {
            id: rule.id,
            origins: rule.allowed_origins,
            methods: rule.allowed_methods,
            headers: rule.allowed_headers.unwrap_or_default(),
            exposed: rule.expose_headers.unwrap_or_default(),
            max_age_seconds: rule.max_age_seconds,
        });
        let rules: Vec<Rule> = rules.collect();
        for rule in &rules {
            rule.check()
                .map_err(|error| S3Error::with_message(S3ErrorCode::InvalidRequest, error.to_string()))?;
        }
        let text = serde_json::to_string(&rules).expect("rules are plain data");
        self.keep(&caller, Use::PutBucketCors, request.input.bucket, Setting::Cors, Some(text)).await?;
        Ok(S3Response::new(PutBucketCorsOutput::default()))
    }

    pub(super) async fn remove_cors(
        &self,
        caller: Caller,
        request: S3Request<DeleteBucketCorsInput>,
    ) -> S3Result<S3Response<DeleteBucketCorsOutput>> {
        self.keep(&caller, Use::PutBucketCors, request.input.bucket, Setting::Cors, None).await?;
        Ok(S3Response::new(DeleteBucketCorsOutput::default()))
    }

    /// Nobody is paid here, so that whoever owns a bucket pays.
    pub(super) async fn request_payment(
        &self,
        caller: Caller,
        request: S3Request<GetBucketRequestPaymentInput>,
    ) -> S3Result<S3Response<GetBucketRequestPaymentOutput>> {
        let bucket = bucket_name(request.input.bucket)?;
        self.permit_bucket::<Read>(&caller, Use::GetBucketSettings, &bucket).await?;
        let payer = Some(Payer::from_static(Payer::BUCKET_OWNER));
        Ok(S3Response::new(GetBucketRequestPaymentOutput { payer }))
    }

    /// What is true already may be said.
    pub(super) async fn set_request_payment(
        &self,
        caller: Caller,
        request: S3Request<PutBucketRequestPaymentInput>,
    ) -> S3Result<S3Response<PutBucketRequestPaymentOutput>> {
        let bucket = bucket_name(request.input.bucket)?;
        self.permit_bucket::<Read>(&caller, Use::GetBucketSettings, &bucket).await?;
        match request.input.request_payment_configuration.payer.as_str() {
            Payer::BUCKET_OWNER => Ok(S3Response::new(PutBucketRequestPaymentOutput::default())),
            Payer::REQUESTER => {
                let message = "nobody is paid here: whoever owns a bucket pays";
                Err(S3Error::with_message(S3ErrorCode::NotImplemented, message))
            }
            _ => Err(S3Error::with_message(S3ErrorCode::MalformedXML, "a payer is BucketOwner or Requester")),
        }
    }

    /// Nothing is accelerated in the way of S3, which answers so, too.
    pub(super) async fn acceleration(
        &self,
        caller: Caller,
        request: S3Request<GetBucketAccelerateConfigurationInput>,
    ) -> S3Result<S3Response<GetBucketAccelerateConfigurationOutput>> {
        let bucket = bucket_name(request.input.bucket)?;
        self.permit_bucket::<Read>(&caller, Use::GetAccelerateConfiguration, &bucket).await?;
        Ok(S3Response::new(GetBucketAccelerateConfigurationOutput::default()))
    }

    /// Requests are logged by the node, and not into buckets.
    pub(super) async fn logging(
        &self,
        caller: Caller,
        request: S3Request<GetBucketLoggingInput>,
    ) -> S3Result<S3Response<GetBucketLoggingOutput>> {
        let bucket = bucket_name(request.input.bucket)?;
        self.permit_bucket::<Read>(&caller, Use::GetBucketLogging, &bucket).await?;
        Ok(S3Response::new(GetBucketLoggingOutput::default()))
    }

    /// That nothing is logged into a bucket may be said.
    pub(super) async fn set_logging(
        &self,
        caller: Caller,
        request: S3Request<PutBucketLoggingInput>,
    ) -> S3Result<S3Response<PutBucketLoggingOutput>> {
        let bucket = bucket_name(request.input.bucket)?;
        self.permit_bucket::<Read>(&caller, Use::GetBucketSettings, &bucket).await?;
        match request.input.bucket_logging_status.logging_enabled {
            None => Ok(S3Response::new(PutBucketLoggingOutput::default())),
            Some(_) => {
                let message = "requests are not logged into buckets here: follow the node's events";
                Err(S3Error::with_message(S3ErrorCode::NotImplemented, message))
            }
        }
    }

    /// Nobody is notified in the way of S3.
    pub(super) async fn notifications(
        &self,
        caller: Caller,
        request: S3Request<GetBucketNotificationConfigurationInput>,
    ) -> S3Result<S3Response<GetBucketNotificationConfigurationOutput>> {
        let bucket = bucket_name(request.input.bucket)?;
        self.permit_bucket::<Read>(&caller, Use::GetBucketNotification, &bucket).await?;
        Ok(S3Response::new(GetBucketNotificationConfigurationOutput::default()))
    }

    /// That nobody is notified may be said, as clients do that take their notifications away.
    pub(super) async fn set_notifications(
        &self,
        caller: Caller,
        request: S3Request<PutBucketNotificationConfigurationInput>,
    ) -> S3Result<S3Response<PutBucketNotificationConfigurationOutput>> {
        let bucket = bucket_name(request.input.bucket)?;
        self.permit_bucket::<Read>(&caller, Use::GetBucketSettings, &bucket).await?;
        let said = request.input.notification_configuration;
        let is_nobody = said.event_bridge_configuration.is_none()
            && said.lambda_function_configurations.is_none_or(|some| some.is_empty())
            && said.queue_configurations.is_none_or(|some| some.is_empty())
            && said.topic_configurations.is_none_or(|some| some.is_empty());
        match is_nobody {
            true => Ok(S3Response::new(PutBucketNotificationConfigurationOutput::default())),
            false => {
                let message = "nobody is notified in the way of S3 here: follow the node's events";
                Err(S3Error::with_message(S3ErrorCode::NotImplemented, message))
            }
        }
    }

    /// No bucket is a site of the web.
    pub(super) async fn website(
        &self,
        caller: Caller,
        request: S3Request<GetBucketWebsiteInput>,
    ) -> S3Result<S3Response<GetBucketWebsiteOutput>> {
        let bucket = bucket_name(request.input.bucket)?;
        self.permit_bucket::<Read>(&caller, Use::GetBucketWebsite, &bucket).await?;
        let message = "no bucket is a site of the web here";
        Err(S3Error::with_message(S3ErrorCode::NoSuchWebsiteConfiguration, message))
    }

    /// No bucket is replicated in the way of S3.
    pub(super) async fn replication(
        &self,
        caller: Caller,
        request: S3Request<GetBucketReplicationInput>,
    ) -> S3Result<S3Response<GetBucketReplicationOutput>> {
        let bucket = bucket_name(request.input.bucket)?;
        self.permit_bucket::<Read>(&caller, Use::GetReplicationConfiguration, &bucket).await?;
        let message = "no bucket is replicated by rules of S3 here";
        Err(S3Error::with_message(S3ErrorCode::ReplicationConfigurationNotFoundError, message))
    }
}
