//! An error on gRPC's wire: the same error as over HTTP, by the code that stands for its status.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use super::super::answer::{self, ERROR_CODE};
use super::super::refused::Refused;

/// The status that the error has over HTTP.
pub(in super::super) const HTTP_STATUS: HeaderName = HeaderName::from_static("x-llmpool-status");
/// The field of the request that is wrong.
const FIELD: HeaderName = HeaderName::from_static("x-llmpool-field");
/// What retry policies of gRPC's clients go by; below zero: not again.
const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// The table. A status that is not in it is INTERNAL; of several for one code, the first stands for it.
const CODES: [(u16, Code); 15] = [
    (400, Code::InvalidArgument),
    (401, Code::Unauthenticated),
    (403, Code::PermissionDenied),
    (404, Code::NotFound),
    (409, Code::AlreadyExists),
    (429, Code::ResourceExhausted),
    (413, Code::ResourceExhausted),
    (499, Code::Cancelled),
    (500, Code::Internal),
    (501, Code::Unimplemented),
    (405, Code::Unimplemented),
    (415, Code::Unimplemented),
    (503, Code::Unavailable),
    (504, Code::DeadlineExceeded),
    (408, Code::DeadlineExceeded),
];

fn code_of(status: StatusCode) -> Code {
    CODES.iter().find(|(known, _)| *known == status.as_u16()).map_or(Code::Internal, |(_, code)| *code)
}

/// Says which status the end of an RPC stands for, where it has not been said: tonic ends some by itself.
pub(super) fn name(headers: &mut HeaderMap) {
    let ended = Status::from_header_map(headers).map(|status| status.code()).filter(|code| *code != Code::Ok);
    if let Some(code) = ended.filter(|_| !headers.contains_key(HTTP_STATUS)) {
        let status = CODES.iter().find(|(_, known)| *known == code).map_or(500, |(status, _)| *status);
        headers.insert(HTTP_STATUS, HeaderValue::from(status));
    }
}

/// The service has no such method; ours say why they refuse what they know.
pub(super) fn is_unknown_method(headers: &HeaderMap) -> bool {
    Status::from_header_map(headers)
        .is_some_and(|status| status.code() == Code::Unimplemented && status.message().is_empty())
}

impl Refused {
    /// As the end of an RPC.
    pub fn into_status(self) -> Status {
        let mut headers = HeaderMap::new();
        self.say_in(&mut headers);
        headers.insert(HTTP_STATUS, HeaderValue::from(self.status.as_u16()));
        headers.insert(ERROR_CODE, HeaderValue::from_static(self.own_code()));
        if self.was_tried() {
            headers.insert(PUSHBACK, HeaderValue::from_static("-1"));
        }
        if let Some(field) = self.param.as_deref().and_then(|field| answer::text(field).ok()) {
            headers.insert(FIELD, field);
        }
        Status::with_metadata(code_of(self.status), self.message, MetadataMap::from_headers(headers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `AlreadyExists` is `ALREADY_EXISTS` on every page about gRPC.
    fn word(code: Code) -> String {
        let split = |letter: char| if letter.is_uppercase() { format!("_{letter}") } else { letter.to_string() };
        format!("{code:?}").chars().map(split).collect::<String>().trim_start_matches('_').to_uppercase()
    }

    #[test]
    fn the_page_has_the_table() {
        let page = include_str!("../../../docs/grpc.md");
        let rows: Vec<String> = page
            .lines()
            .filter_map(|line| {
                let mut cells = line.split('|').map(str::trim).skip(1);
                let (status, code) = (cells.next()?, cells.next()?);
                status.parse::<u16>().ok().map(|status| format!("{status} {code}"))
            })
            .collect();
        let mut known = CODES.to_vec();
        known.sort_by_key(|(status, _)| *status);
        let known: Vec<String> = known.into_iter().map(|(status, code)| format!("{status} `{}`", word(code))).collect();
        assert_eq!(rows, known);
    }

    #[test]
    fn every_status_has_a_code_and_every_code_a_status() {
        for (status, code) in CODES {
            assert_eq!(code_of(StatusCode::from_u16(status).expect("a status")), code);
        }
        assert_eq!(code_of(StatusCode::IM_A_TEAPOT), Code::Internal);
        for (code, status) in [(Code::ResourceExhausted, "429"), (Code::Unimplemented, "501"), (Code::DataLoss, "500")]
        {
            let mut headers = Status::new(code, "").into_http::<()>().into_parts().0.headers;
            name(&mut headers);
            assert_eq!(headers[HTTP_STATUS], status, "{code:?}");
        }
        let mut well = HeaderMap::new();
        name(&mut well);
        assert!(well.is_empty());
    }
}
