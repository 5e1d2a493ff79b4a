//! The parts of the OpenAPI document that hold for all routes: the token, refusals, and the bodies that may be left
//! out. The parts about one route are at its handler.

use utoipa::Modify;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{OpenApi, Ref, RefOr, Required, Schema, schema::Components};

/// The token.
pub(crate) struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        document.components.get_or_insert_default().add_security_scheme("token", scheme);
    }
}

/// Adds the answers that any route may give: problems with the token, the host, the body's size and so on.
pub(crate) struct Problems;

impl Modify for Problems {
    fn modify(&self, document: &mut OpenApi) {
        for operation in operations(document) {
            let problem = || RefOr::Ref(Ref::from_response_name("Problem"));
            let answers = &mut operation.responses.responses;
            if operation.security.is_none() {
                answers.insert("401".to_owned(), problem());
            }
            answers.insert("default".to_owned(), problem());
        }
    }
}

/// Marks bodies without required members as optional: a missing body counts as `{}`.
pub(crate) struct Bodies;

impl Modify for Bodies {
    fn modify(&self, document: &mut OpenApi) {
        let components = document.components.take().unwrap_or_default();
        for body in operations(document).filter_map(|operation| operation.request_body.as_mut()) {
            let mut schemas = body.content.values().filter_map(|content| content.schema.as_ref());
            if schemas.all(|schema| !is_required(&components, schema)) {
                body.required = Some(Required::False);
            }
        }
        document.components = Some(components);
    }
}

fn is_required(components: &Components, schema: &RefOr<Schema>) -> bool {
    match schema {
        RefOr::Ref(named) => {
            let name = named.ref_location.rsplit('/').next().unwrap_or_default();
            components.schemas.get(name).is_none_or(|schema| is_required(components, schema))
        }
        RefOr::T(Schema::Object(object)) => !object.required.is_empty(),
        RefOr::T(_) => true,
    }
}

fn operations(document: &mut OpenApi) -> impl Iterator<Item = &mut Operation> {
    document.paths.paths.values_mut().flat_map(|item| {
        let all = [&mut item.get, &mut item.put, &mut item.post, &mut item.patch, &mut item.delete];
        all.into_iter().filter_map(Option::as_mut)
    })
}
