//! Which buckets want copies that follow the load.

use cm_db::{Direction, KeyRange};
use cm_placement::apac::{Policy, Problem};
use cm_placement::{Redundancy, RedundancyError};
use cm_policy::{Permit, Read, Update};
use cm_types::{BucketName, RequestId};

use crate::network::tables::{BucketElastics, ElasticRow};
use crate::objects::{require_bucket, require_bucket_exists};
use crate::settings::{Change, record};
use crate::{ObjectError, Objects};

/// Buckets that may want it at once.
pub const ELASTIC_BUCKETS_MAX: usize = 1024;

/// How copies of a bucket's chunks follow the load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elastic {
    /// Most holders of a chunk, the placed ones included; placed ones stay whatever it says. 1 to 64.
    pub copies_max: u8,
    /// A policy of replication, in the language of [`cm_placement::apac`]: who is to have copies besides, and when.
    pub policy: Option<String>,
}

/// Why copies cannot follow the load like this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ElasticError {
    /// No such number of copies.
    #[error("the most copies of a chunk cannot be that: {0}")]
    Copies(#[source] RedundancyError),
    /// The policy cannot be read.
    #[error("the replication policy is wrong at {0}")]
    Policy(#[from] Problem),
    /// The policy is about other buckets only.
    #[error("the replication policy names no objects of bucket `{bucket}` under `what`")]
    OtherBucket {
        /// The bucket that it was given to.
        bucket: BucketName,
    },
    /// As many buckets have it as may.
    #[error("copies follow the load of {max} buckets already, as many as may; turn it off for others first")]
    TooMany {
        /// The limit.
        max: usize,
    },
}

impl Elastic {
    fn check(&self, bucket: &BucketName) -> Result<(), ElasticError> {
        Redundancy::replicas(self.copies_max.into()).map_err(ElasticError::Copies)?;
        let Some(policy) = &self.policy else { return Ok(()) };
        match Policy::parse(policy)?.is_about(bucket) {
            true => Ok(()),
            false => Err(ElasticError::OtherBucket { bucket: bucket.clone() }),
        }
    }
}

impl Objects {
    /// How copies of a bucket's chunks follow the load; `None` if they do not.
    ///
    /// # Errors
    /// [`ObjectError::BucketNotFound`], [`ObjectError::NotPermitted`].
    pub async fn elastic(
        &self,
        permit: &Permit<Read>,
        bucket: &BucketName,
    ) -> Result<Option<Elastic>, ObjectError> {
        require_bucket(permit, bucket)?;
        let key = (permit.tenant().clone(), bucket.clone());
        self.0
            .db
            .read(move |tx| {
                require_bucket_exists(tx, &key.0, &key.1)?;
                let row = tx.get::<BucketElastics>(&key)?;
                Ok(row.map(|ElasticRow { copies_max, policy }| Elastic { copies_max, policy }))
            })
            .await
    }

    /// Lets copies of a bucket's chunks follow the load, or no longer: then extra ones are dropped. On a node that keeps its objects alone
    /// it is noted and has no effect.
    ///
    /// # Errors
    /// [`ObjectError::Elastic`], [`ObjectError::BucketNotFound`], [`ObjectError::NotPermitted`].
    pub async fn set_elastic(
        &self,
        permit: &Permit<Update>,
        bucket: &BucketName,
        elastic: Option<Elastic>,
        request: Option<RequestId>,
    ) -> Result<(), ObjectError> {
        require_bucket(permit, bucket)?;
        if let Some(elastic) = &elastic {
            elastic.check(bucket)?;
        }
        let (engine, permit, bucket) = (self.0.clone(), permit.clone(), bucket.clone());
        self.0
            .write(move |tx| {
                let tenant = permit.tenant();
                require_bucket_exists(tx, tenant, &bucket)?;
                let key = (tenant.clone(), bucket.clone());
                let copies_max = elastic.as_ref().map(|elastic| elastic.copies_max);
                match elastic {
                    Some(Elastic { copies_max, policy }) => {
                        let max = ELASTIC_BUCKETS_MAX;
                        let is_new = tx.get::<BucketElastics>(&key)?.is_none();
                        let all = tx.range::<BucketElastics>(KeyRange::all(), Direction::Forward, max)?;
                        if is_new && all.len() == max {
                            return Err(ElasticError::TooMany { max }.into());
                        }
                        tx.put::<BucketElastics>(&key, &ElasticRow { copies_max, policy })?;
                    }
                    None => {
                        tx.delete::<BucketElastics>(&key)?;
                    }
                }
                let mut facts = serde_json::Map::new();
                facts.insert("setting".to_owned(), "elastic".into());
                facts.insert("value".to_owned(), copies_max.into());
                let by = Change { tenant, bucket: &bucket, actor: permit.principal().cloned(), request };
                record(&engine.events, tx, "bucket.set", by, facts)
            })
            .await
    }
}
