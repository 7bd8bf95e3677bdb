//! The five routes that every family of records has, written once.

/// The routes of a family: a list, creation, and reading, changing and deleting one record.
///
/// Each becomes an ordinary handler of the given name in the module of its family.
macro_rules! record_routes {
    (
        $record:ident = $spec:ty, $extra:ty; $body:ident; $tag:literal, $kind:literal, $collection:literal, $item:literal,
        $list:ident, $create:ident, $read:ident, $change:ident, $delete:ident
    ) => {
        #[doc = concat!("One of the ", $tag, " as it travels.")]
        pub type $record = $crate::record::RecordView<$spec, $extra>;

        #[doc = concat!("What is sent to create one of the ", $tag, ", or to change it.")]
        pub type $body = $crate::record_schema::RecordBody<$spec>;

        #[utoipa::path(
            get, path = $collection, tag = $tag, summary = concat!("Lists ", $tag),
            params($crate::listing::ListParams, $crate::listing::FilterParams),
            extensions(("x-permission" = json!(concat!($kind, ":list")))),
            responses((
                status = 200,
                description = "What the caller may read, in the order of creation; `Next-Cursor` if it is a page and not the last. With `watch`, messages",
                content((Vec<$record> = "application/json"), (String = "text/event-stream")),
            ))
        )]
        #[doc = concat!("Lists ", $tag, ".")]
        pub async fn $list(
            axum::extract::State(api): axum::extract::State<$crate::Api>,
            $crate::authentication::Op(op): $crate::authentication::Op,
            headers: axum::http::HeaderMap,
            params: cm_http::Params<$crate::listing::ListParams>,
        ) -> Result<axum::response::Response, cm_http::Failure> {
            $crate::record::list::<$spec>(&api.kernel, op, &headers, params).await
        }

        #[utoipa::path(
            post, path = $collection, tag = $tag, summary = concat!("Creates one of the ", $tag),
            request_body = $body,
            params(("Idempotency-Key" = Option<String>, Header, description = "1 to 128 visible ASCII characters: who sends the same again under the same key within a day gets what the first request made")),
            extensions(("x-permission" = json!(concat!($kind, ":create")))),
            responses(
                (status = 201, description = "The new record; `Location` says where", body = $record),
                (status = 409, description = "The id or the name is taken", body = $crate::document::ErrorBody),
                (status = 422, description = "A field is wrong, or refers to nothing", body = $crate::document::ErrorBody),
            )
        )]
        #[doc = concat!("Creates one of the ", $tag, ".")]
        pub async fn $create(
            axum::extract::State(api): axum::extract::State<$crate::Api>,
            $crate::authentication::Op(op): $crate::authentication::Op,
            headers: axum::http::HeaderMap,
            body: cm_http::JsonBody<$crate::fields::Fields>,
        ) -> Result<axum::response::Response, cm_http::Failure> {
            $crate::record::create::<$spec>(&api.kernel, op, &headers, body).await
        }

        #[utoipa::path(
            get, path = $item, tag = $tag, summary = concat!("Reads one of the ", $tag),
            params(("id" = String, Path, description = "The id"), $crate::expand::ExpandParams),
            extensions(("x-permission" = json!(concat!($kind, ":read")))),
            responses(
                (status = 200, description = "The record; `ETag` is its generation", body = $record),
                (status = 304, description = "The version named by `If-None-Match`"),
            )
        )]
        #[doc = concat!("Reads one of the ", $tag, ".")]
        pub async fn $read(
            axum::extract::State(api): axum::extract::State<$crate::Api>,
            $crate::authentication::Op(op): $crate::authentication::Op,
            axum::extract::Path(id): axum::extract::Path<String>,
            headers: axum::http::HeaderMap,
            params: cm_http::Params<$crate::expand::ExpandParams>,
        ) -> Result<axum::response::Response, cm_http::Failure> {
            $crate::record::read::<$spec>(&api.kernel, &op, &id, &headers, params).await
        }

        #[utoipa::path(
            put, path = $item, tag = $tag, summary = concat!("Changes one of the ", $tag),
            description = "Fields that are not sent stay as they are; `null` removes a field.",
            params(("id" = String, Path, description = "The id")),
            request_body = $body,
            extensions(("x-permission" = json!(concat!($kind, ":update")))),
            responses(
                (status = 200, description = "The record as it is now", body = $record),
                (status = 412, description = "`If-Match` names another generation", body = $crate::document::ErrorBody),
                (status = 422, description = "A field is wrong, or refers to nothing", body = $crate::document::ErrorBody),
            )
        )]
        #[doc = concat!("Changes one of the ", $tag, ".")]
        pub async fn $change(
            axum::extract::State(api): axum::extract::State<$crate::Api>,
            $crate::authentication::Op(op): $crate::authentication::Op,
            axum::extract::Path(id): axum::extract::Path<String>,
            headers: axum::http::HeaderMap,
            body: cm_http::JsonBody<$crate::fields::Fields>,
        ) -> Result<axum::response::Response, cm_http::Failure> {
            $crate::record::change::<$spec>(&api.kernel, op, &id, &headers, body).await
        }

        #[utoipa::path(
            delete, path = $item, tag = $tag, summary = concat!("Deletes one of the ", $tag),
            params(("id" = String, Path, description = "The id"), $crate::deletion::DeleteParams),
            extensions(("x-permission" = json!(concat!($kind, ":delete")))),
            responses(
                (status = 200, description = "With `dry_run`: what would go", body = $crate::deletion::DeletionPlan),
                (status = 204, description = "It is gone"),
                (status = 409, description = "Something depends on it: `details.by` lists it", body = $crate::document::ErrorBody),
                (status = 412, description = "`If-Match` names another generation", body = $crate::document::ErrorBody),
            )
        )]
        #[doc = concat!("Deletes one of the ", $tag, ".")]
        pub async fn $delete(
            axum::extract::State(api): axum::extract::State<$crate::Api>,
            $crate::authentication::Op(op): $crate::authentication::Op,
            axum::extract::Path(id): axum::extract::Path<String>,
            headers: axum::http::HeaderMap,
            params: cm_http::Params<$crate::deletion::DeleteParams>,
        ) -> Result<axum::response::Response, cm_http::Failure> {
            $crate::record::delete::<$spec>(&api, &op, &id, &headers, params).await
        }
    };
}

pub(crate) use record_routes;
