//! What is said of one operation, gathered from the types of its handler: each input and each answer describes itself. It
//! must not know which operations there are.

use std::collections::BTreeMap;

use axum::http::{Method, StatusCode};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ContentBuilder, HeaderBuilder, HttpMethod, Object, ObjectBuilder, Ref, RefOr, Required, ResponseBuilder,
        Schema, Type,
        path::{Operation, OperationBuilder, ParameterBuilder, ParameterIn},
        request_body::RequestBodyBuilder,
    },
};

use crate::http::{
    answer::{Fine, Made, Nothing, Public, Tagged},
    error::ApiCode,
};

/// Schemas by name.
pub(super) type Schemas = Vec<(String, RefOr<Schema>)>;

/// A member of a body, or a parameter of a query.
pub(in crate::http) struct Member {
    pub(in crate::http) name: &'static str,
    pub(in crate::http) schema: Schema,
    pub(in crate::http) needed: bool,
}

/// Something that a handler takes.
pub(in crate::http) trait Input {
    /// Adds its parameters, its body and the refusals that it brings.
    fn describe(draft: &mut Draft);
}

/// Something that a handler answers.
pub(in crate::http) trait Output {
    /// Sets the answer.
    fn describe(draft: &mut Draft);
}

/// An operation that is being described.
#[derive(Default)]
pub(in crate::http) struct Draft {
    operation: OperationBuilder,
    codes: Vec<ApiCode>,
    answer: Option<(StatusCode, ResponseBuilder)>,
    schemas: Schemas,
}

impl Draft {
    /// It may be refused for these reasons.
    pub(in crate::http) fn codes(&mut self, codes: &[ApiCode]) {
        for code in codes {
            if !self.codes.contains(code) {
                self.codes.push(*code);
            }
        }
    }

    fn parameter(&mut self, place: ParameterIn, name: &str, required: bool, meaning: Option<String>, schema: Schema) {
        let parameter = ParameterBuilder::new().name(name).parameter_in(place).description(meaning);
        let required = if required { Required::True } else { Required::False };
        let operation = std::mem::take(&mut self.operation);
        self.operation = operation.parameter(parameter.required(required).schema(Some(schema)));
    }

    /// It takes an id in the path.
    pub(in crate::http) fn id(&mut self) {
        self.parameter(ParameterIn::Path, "id", true, None, Object::with_type(Type::String).into());
        self.codes(&[ApiCode::NotFound]);
    }

    /// It takes a header.
    pub(in crate::http) fn header(&mut self, name: &str, required: bool, meaning: &str, schema: Schema) {
        self.parameter(ParameterIn::Header, name, required, Some(meaning.to_owned()), schema);
        self.codes(&[ApiCode::InvalidRequest]);
    }

    /// It takes parameters in the query.
    pub(in crate::http) fn query(&mut self, parameters: Vec<Member>) {
        for member in parameters {
            self.parameter(ParameterIn::Query, member.name, member.needed, None, member.schema);
        }
        self.codes(&[ApiCode::InvalidRequest]);
    }

    /// It takes a JSON object with these members, and no others; those that are needed are marked.
    pub(in crate::http) fn body(&mut self, members: Vec<Member>) {
        let mut schema = ObjectBuilder::new()
            .additional_properties(Some(utoipa::openapi::schema::AdditionalProperties::<Schema>::FreeForm(false)));
        for member in members {
            if member.needed {
                schema = schema.required(member.name);
            }
            schema = schema.property(member.name, member.schema);
        }
        let content = ContentBuilder::new().schema(Some(schema.build())).build();
        let body = RequestBodyBuilder::new().content("application/json", content).required(Some(Required::True));
        let operation = std::mem::take(&mut self.operation);
        self.operation = operation.request_body(Some(body.build()));
        self.codes(&[ApiCode::InvalidRequest, ApiCode::BodyTooLarge, ApiCode::MediaType]);
    }

    fn answers<T: ToSchema>(&mut self, status: StatusCode, meaning: &str) {
        let name = T::name().into_owned();
        T::schemas(&mut self.schemas);
        self.schemas.push((name.clone(), <T as PartialSchema>::schema()));
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(name))).build();
        let response = ResponseBuilder::new().description(meaning).content("application/json", content);
        self.answer = Some((status, response));
    }

    /// The operation, and the schemas that it refers to.
    pub(super) fn end(self, id: &str, tag: &str, summary: &str) -> (Operation, Schemas) {
        let mut operation = self.operation.operation_id(Some(id)).tag(tag).summary(Some(summary));
        if let Some((status, response)) = self.answer {
            operation = operation.response(status.as_str(), response.build());
        }
        let mut by_status: BTreeMap<StatusCode, Vec<String>> = BTreeMap::new();
        for code in self.codes {
            by_status.entry(code.status()).or_default().push(format!("`{}`: {}", code.as_str(), code.detail()));
        }
        for (status, reasons) in by_status {
            let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
            let response = ResponseBuilder::new().description(reasons.join("\n\n"));
            let response = response.content(tollgate_protocol::problem::MEDIA_TYPE, content);
            operation = operation.response(status.as_str(), response.build());
        }
        (operation.build(), self.schemas)
    }
}

/// The method, where a description can name it.
pub(super) fn verb(method: &Method) -> Option<HttpMethod> {
    match method.as_str() {
        "GET" => Some(HttpMethod::Get),
        "POST" => Some(HttpMethod::Post),
        "PUT" => Some(HttpMethod::Put),
        "PATCH" => Some(HttpMethod::Patch),
        "DELETE" => Some(HttpMethod::Delete),
        _ => None,
    }
}

impl Input for () {
    fn describe(_: &mut Draft) {}
}

impl<A: Input, B: Input> Input for (A, B) {
    fn describe(draft: &mut Draft) {
        A::describe(draft);
        B::describe(draft);
    }
}

impl<A: Input, B: Input, C: Input> Input for (A, B, C) {
    fn describe(draft: &mut Draft) {
        A::describe(draft);
        B::describe(draft);
        C::describe(draft);
    }
}

impl<T: ToSchema> Output for Fine<T> {
    fn describe(draft: &mut Draft) {
        draft.answers::<T>(StatusCode::OK, "Done.");
    }
}

impl<T: ToSchema> Output for Public<T> {
    fn describe(draft: &mut Draft) {
        draft.answers::<T>(StatusCode::OK, "Done.");
    }
}

impl<T: ToSchema> Output for Made<T> {
    fn describe(draft: &mut Draft) {
        draft.answers::<T>(StatusCode::CREATED, "Made.");
    }
}

impl<T: ToSchema> Output for Tagged<T> {
    fn describe(draft: &mut Draft) {
        draft.answers::<T>(StatusCode::OK, "Done.");
        let tag = HeaderBuilder::new().schema(Some(Object::with_type(Type::String)));
        let tag = tag.description(Some("The revision of what is shown, for If-Match.")).build();
        draft.answer = draft.answer.take().map(|(status, response)| (status, response.header("ETag", tag)));
    }
}

impl Output for Nothing {
    fn describe(draft: &mut Draft) {
        draft.answer = Some((StatusCode::NO_CONTENT, ResponseBuilder::new().description("Done.")));
    }
}
