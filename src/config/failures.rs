//! Rows that a configuration adds to the failure table, raw → checked, and handed to the providers they are about.

use super::ProviderConfig;
use super::nearest::nearest;
use super::provider::known_service;
use super::raw::RawFailure;
use super::section::{Field, Reader, index, join};
use super::values::{Text, shown};
use crate::adapter::{FailureRow, Service};
use crate::error::FailureClass;

/// Statuses that a failure can have: below are answers, above is nothing HTTP knows.
const STATUSES: std::ops::RangeInclusive<u32> = 300..=599;

/// Checks every row and gives each provider its own, in the order written.
pub(super) fn check(rows: Field<Vec<Field<RawFailure>>>, providers: &mut [ProviderConfig], reader: &mut Reader<'_>) {
    for (position, row) in rows.some().into_iter().flatten().enumerate() {
        let Some(row) = row.some() else { continue };
        let at = index("failures", position);
        let Some(Checked { service, provider, row }) = check_row(row, &at, providers, reader) else { continue };
        let about = |config: &ProviderConfig| {
            service.is_none_or(|service| service.name == config.service.name)
                && provider.as_ref().is_none_or(|name| config.name.as_str() == name)
        };
        let mut meant = providers.iter_mut().filter(|config| about(config)).peekable();
        if meant.peek().is_none() {
            reader.warn(&at, "no provider is meant by it");
        }
        for config in meant {
            config.failure_rows.push(row.clone());
        }
    }
}

struct Checked {
    service: Option<&'static Service>,
    provider: Option<String>,
    row: FailureRow,
}

/// `None` after noting at least one problem.
fn check_row(raw: RawFailure, at: &str, providers: &[ProviderConfig], reader: &mut Reader<'_>) -> Option<Checked> {
    let RawFailure { kind, provider, status, code, message, class } = raw;
    let before = reader.problems.len();
    if !(status.is_given() || code.is_given() || message.is_given()) {
        reader.problem(at, "would match everything that goes wrong; expected at least one of status, code, message");
    }
    let service = kind.some().and_then(|kind| known_service(&kind, &join(at, "type"), reader));
    let provider = provider.some();
    if let Some(provider) = &provider {
        check_name(provider, &join(at, "provider"), providers, reader);
    }
    let status = status.some();
    if let Some(status) = status.filter(|status| !STATUSES.contains(status)) {
        reader.problem(join(at, "status"), format!("expected an HTTP status from 300 to 599, found {status}"));
    }
    let class = class.required(at, "class", reader).and_then(|class| known_class(&class, &join(at, "class"), reader));
    let lower_case = |text: Field<Text>| text.some().map(|text| text.value.trim().to_lowercase());
    let row = FailureRow {
        status: status.and_then(|status| status.try_into().ok()),
        code: lower_case(code),
        message: lower_case(message),
        class: class?,
    };
    (reader.problems.len() == before).then(|| Checked { service, provider: provider.map(|name| name.value), row })
}

fn check_name(name: &Text, path: &str, providers: &[ProviderConfig], reader: &mut Reader<'_>) {
    let names: Vec<&str> = providers.iter().map(|provider| provider.name.as_str()).collect();
    if !names.contains(&name.value.as_str()) {
        let said = shown(&name.shown).map_or_else(String::new, |shown| format!(" {shown:?}"));
        reader.problem(path, format!("there is no provider{said}{}", nearest(&name.value, &names)));
    }
}

fn known_class(class: &Text, path: &str, reader: &mut Reader<'_>) -> Option<FailureClass> {
    let known = class.value.parse().ok();
    if known.is_none() {
        let names = FailureClass::ALL.map(FailureClass::as_str);
        let said = shown(&class.shown).map_or_else(String::new, |shown| format!(" {shown:?}"));
        let hint = nearest(&class.value, &names);
        reader.problem(path, format!("unknown class{said}, expected one of {}{hint}", names.join(", ")));
    }
    known
}
