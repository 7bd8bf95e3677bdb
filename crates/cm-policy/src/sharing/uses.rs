//! What one can do with buckets and objects, by the names that policies of buckets use.

use super::AclPermission;

/// What a list of grants must say for a use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AclDemand {
    /// This, on the bucket.
    Bucket(AclPermission),
    /// This, on the object.
    Object(AclPermission),
    /// No grant gives it: it takes the owner of the bucket, or its policy.
    Owner,
}

macro_rules! uses {
    ($( $(#[doc = $doc:literal])+ $name:ident => $text:literal, $demand:expr; )+) => {
        /// One thing that can be done with a bucket or an object. Finer than an [`Action`](cm_types::Action): policies of
        /// buckets tell them apart.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Use {
            $( $(#[doc = $doc])+ $name, )+
        }

        impl Use {
            /// All of them.
            pub const ALL: &'static [Use] = &[$(Use::$name),+];

            /// The name in policies of buckets, without the prefix `s3:`.
            pub fn as_str(self) -> &'static str {
                match self { $(Use::$name => $text),+ }
            }

            /// What a list of grants must say.
            pub fn acl(self) -> AclDemand {
                match self { $(Use::$name => $demand),+ }
            }
        }
    };
}

use AclDemand::{Bucket, Object, Owner};
use AclPermission::{Read, ReadAcp, Write, WriteAcp};

uses! {
    /// Read an object or what is said about it.
    GetObject => "GetObject", Object(Read);
    /// The same, of a version.
    GetObjectVersion => "GetObjectVersion", Object(Read);
    /// Read what is known about an object.
    GetObjectAttributes => "GetObjectAttributes", Object(Read);
    /// The same, of a version.
    GetObjectVersionAttributes => "GetObjectVersionAttributes", Object(Read);
    /// Read an object's grants.
    GetObjectAcl => "GetObjectAcl", Object(ReadAcp);
    /// The same, of a version.
    GetObjectVersionAcl => "GetObjectVersionAcl", Object(ReadAcp);
    /// Change an object's grants.
    PutObjectAcl => "PutObjectAcl", Object(WriteAcp);
    /// The same, of a version.
    PutObjectVersionAcl => "PutObjectVersionAcl", Object(WriteAcp);
    /// Read an object's tags: who may read it need not know them.
    GetObjectTagging => "GetObjectTagging", Object(Write);
    /// The same, of a version.
    GetObjectVersionTagging => "GetObjectVersionTagging", Object(Write);
    /// Change an object's tags.
    PutObjectTagging => "PutObjectTagging", Object(Write);
    /// The same, of a version.
    PutObjectVersionTagging => "PutObjectVersionTagging", Object(Write);
    /// Remove an object's tags.
    DeleteObjectTagging => "DeleteObjectTagging", Object(Write);
    /// The same, of a version.
    DeleteObjectVersionTagging => "DeleteObjectVersionTagging", Object(Write);
    /// Read until when an object is kept.
    GetObjectRetention => "GetObjectRetention", Object(Read);
    /// Change until when an object is kept.
    PutObjectRetention => "PutObjectRetention", Owner;
    /// Read whether an object is held.
    GetObjectLegalHold => "GetObjectLegalHold", Object(Read);
    /// Change whether an object is held.
    PutObjectLegalHold => "PutObjectLegalHold", Owner;
    /// Remove what is kept under governance.
    BypassGovernanceRetention => "BypassGovernanceRetention", Owner;
    /// Write or replace an object.
    PutObject => "PutObject", Bucket(Write);
    /// Say the grants of an object while it is written: it is going to be the writer's.
    PutNewObjectAcl => "PutObjectAcl", Bucket(Write);
    /// Say the tags of an object while it is written.
    PutNewObjectTagging => "PutObjectTagging", Bucket(Write);
    /// Remove an object, or hide it.
    DeleteObject => "DeleteObject", Bucket(Write);
    /// Remove a version.
    DeleteObjectVersion => "DeleteObjectVersion", Bucket(Write);
    /// End an upload in parts without an object.
    AbortMultipartUpload => "AbortMultipartUpload", Bucket(Write);
    /// List the parts of an upload.
    ListMultipartUploadParts => "ListMultipartUploadParts", Bucket(Write);
    /// Know of a bucket, and list its objects.
    ListBucket => "ListBucket", Bucket(Read);
    /// List the versions of a bucket's objects.
    ListBucketVersions => "ListBucketVersions", Bucket(Read);
    /// List uploads in parts.
    ListBucketMultipartUploads => "ListBucketMultipartUploads", Bucket(Read);
    /// Read where a bucket is.
    GetBucketLocation => "GetBucketLocation", Owner;
    /// Read a bucket's grants.
    GetBucketAcl => "GetBucketAcl", Bucket(ReadAcp);
    /// Change a bucket's grants.
    PutBucketAcl => "PutBucketAcl", Bucket(WriteAcp);
    /// Remove a bucket.
    DeleteBucket => "DeleteBucket", Owner;
    /// Read a bucket's policy.
    GetBucketPolicy => "GetBucketPolicy", Owner;
    /// Change a bucket's policy.
    PutBucketPolicy => "PutBucketPolicy", Owner;
    /// Remove a bucket's policy.
    DeleteBucketPolicy => "DeleteBucketPolicy", Owner;
    /// Read whether a bucket is public.
    GetBucketPolicyStatus => "GetBucketPolicyStatus", Owner;
    /// Read what keeps a bucket from being public.
    GetBucketPublicAccessBlock => "GetBucketPublicAccessBlock", Owner;
    /// Change what keeps a bucket from being public.
    PutBucketPublicAccessBlock => "PutBucketPublicAccessBlock", Owner;
    /// Read who owns what others write.
    GetBucketOwnershipControls => "GetBucketOwnershipControls", Owner;
    /// Change who owns what others write.
    PutBucketOwnershipControls => "PutBucketOwnershipControls", Owner;
    /// Read which pages of the web may use a bucket.
    GetBucketCors => "GetBucketCORS", Owner;
    /// Change which pages of the web may use a bucket.
    PutBucketCors => "PutBucketCORS", Owner;
    /// Read whether versions are kept.
    GetBucketVersioning => "GetBucketVersioning", Owner;
    /// Change whether versions are kept.
    PutBucketVersioning => "PutBucketVersioning", Owner;
    /// Read a bucket's tags.
    GetBucketTagging => "GetBucketTagging", Owner;
    /// Change a bucket's tags.
    PutBucketTagging => "PutBucketTagging", Owner;
    /// Change how chunks of a bucket are kept: on how many peers, in which tier, following which load.
    PutBucketKeeping => "PutIntelligentTieringConfiguration", Owner;
    /// Read when objects expire.
    GetLifecycleConfiguration => "GetLifecycleConfiguration", Owner;
    /// Change when objects expire.
    PutLifecycleConfiguration => "PutLifecycleConfiguration", Owner;
    /// Read how long objects are kept.
    GetBucketObjectLockConfiguration => "GetBucketObjectLockConfiguration", Owner;
    /// Change how long objects are kept.
    PutBucketObjectLockConfiguration => "PutBucketObjectLockConfiguration", Owner;
    /// Read how new objects are encrypted.
    GetEncryptionConfiguration => "GetEncryptionConfiguration", Owner;
    /// Change how new objects are encrypted.
    PutEncryptionConfiguration => "PutEncryptionConfiguration", Owner;
    /// Read how a bucket is replicated.
    GetReplicationConfiguration => "GetReplicationConfiguration", Owner;
    /// Read who is notified of what happens in a bucket.
    GetBucketNotification => "GetBucketNotification", Owner;
    /// Read whether a bucket is reached by a shorter way.
    GetAccelerateConfiguration => "GetAccelerateConfiguration", Owner;
    /// Read where requests are logged.
    GetBucketLogging => "GetBucketLogging", Owner;
    /// Read what a bucket is on the web.
    GetBucketWebsite => "GetBucketWebsite", Owner;
    /// Read other settings of a bucket, such as who pays.
    GetBucketSettings => "GetBucketRequestPayment", Owner;
}

impl Use {
    /// Whether it is about one object, rather than about the bucket.
    pub fn is_of_object(self) -> bool {
        matches!(self.acl(), Object(_))
            || matches!(
                self,
                Use::PutObject
                    | Use::PutNewObjectAcl
                    | Use::PutNewObjectTagging
                    | Use::PutObjectRetention
                    | Use::PutObjectLegalHold
                    | Use::DeleteObject
                    | Use::DeleteObjectVersion
                    | Use::AbortMultipartUpload
                    | Use::ListMultipartUploadParts
                    | Use::BypassGovernanceRetention
            )
    }

    /// The condition keys of what is said along with an object that is written, in lower case, by how they begin: a statement
    /// that allows to write, and pins each of them that is there, allows that too.
    pub(crate) fn said_along(self) -> &'static [&'static str] {
        match self {
            Use::PutNewObjectAcl => &["s3:x-amz-acl", "s3:x-amz-grant-"],
            Use::PutNewObjectTagging => &["s3:requestobjecttag/"],
            _ => &[],
        }
    }

    /// Whether the owner of a bucket may do it even though its policy denies it to everybody: otherwise a wrong policy could
    /// not be taken back.
    pub(crate) fn survives_denial(self) -> bool {
        matches!(self, Use::GetBucketPolicy | Use::PutBucketPolicy | Use::DeleteBucketPolicy)
    }

    /// The use of a version that corresponds to that of an object.
    pub fn of_version(self) -> Use {
        match self {
            Use::GetObject => Use::GetObjectVersion,
            Use::GetObjectAttributes => Use::GetObjectVersionAttributes,
            Use::GetObjectAcl => Use::GetObjectVersionAcl,
            Use::PutObjectAcl => Use::PutObjectVersionAcl,
            Use::GetObjectTagging => Use::GetObjectVersionTagging,
            Use::PutObjectTagging => Use::PutObjectVersionTagging,
            Use::DeleteObjectTagging => Use::DeleteObjectVersionTagging,
            Use::DeleteObject => Use::DeleteObjectVersion,
            other => other,
        }
    }
}
