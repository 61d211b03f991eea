//! Books an exchange exactly once, however it ended.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::{Request, StatusCode};
use weir_ai::{Dialect, Endpoint, ResponseScan, UsageReading};

use super::Connection;
use super::permission::DeniedModel;
use super::prepared::Prepared;
use super::request_body::Sight;
use crate::telemetry::Telemetry;
use crate::telemetry::record::{ExchangeRecord, Outcome};

/// The code of an answer that broke off in the middle.
pub(super) const TRUNCATED: &str = "weir_upstream_truncated";

/// An exchange under way. Dropped unsettled, its client has gone away: it is settled with what was seen so far, as completed if that
/// was all.
pub(super) struct Settlement {
    telemetry: Telemetry,
    began: Instant,
    endpoint: Endpoint,
    record: ExchangeRecord,
    /// What there is to know of the request's body.
    request: Option<Sight>,
    /// What there is to know of the answer's body. Boxed: the settlement is handed on, and this is most of it.
    response: Option<Box<ResponseScan>>,
    settled: bool,
}

impl Settlement {
    pub(super) fn begin<B>(connection: &Connection, prepared: &Prepared, request: &Request<B>) -> Self {
        let path = request.uri().path();
        let endpoint = Endpoint::of(request.method(), path);
        let began = Instant::now();
        let record = ExchangeRecord {
            started: SystemTime::now(),
            workload: Arc::clone(&connection.services.workload),
            backend: Arc::clone(&prepared.label),
            provider: prepared.backend.provider,
            server_address: Arc::clone(&connection.host),
            method: request.method().clone(),
            path: path.to_owned(),
            status: None,
            operation: endpoint.operation(),
            request_model: None,
            response_model: None,
            usage: UsageReading::None,
            cost: None,
            stream: false,
            outcome: Outcome::ClientGone,
            error_code: None,
            duration: std::time::Duration::ZERO,
            time_to_first_chunk: None,
        };
        let telemetry = connection.services.telemetry.clone();
        Self {
            telemetry,
            began,
            endpoint,
            record,
            request: None,
            response: None,
            settled: false,
        }
    }

    pub(super) fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    /// How errors are told: as the path has it, for some providers serve another's API beside their own; else as the provider has it.
    pub(super) fn dialect(&self) -> Dialect {
        self.endpoint
            .dialect()
            .unwrap_or_else(|| self.record.provider.dialect())
    }

    /// The request's body has been set on its way.
    pub(super) fn watch(&mut self, request: Sight) {
        self.request = Some(request);
    }

    /// Whether the provider was asked for usage that the client must not see.
    pub(super) fn added_usage(&self) -> bool {
        self.request.as_ref().is_some_and(Sight::added_usage)
    }

    /// Why a request was broken off that names its model only behind what had gone upstream already.
    pub(super) fn denied_model(&self) -> Option<DeniedModel> {
        self.request.as_ref().and_then(Sight::denied)
    }

    /// The client is given this status.
    pub(super) fn answered(&mut self, status: StatusCode) {
        self.record.status = Some(status);
    }

    /// The answer is a stream of events, or is not.
    pub(super) fn streams(&mut self, stream: bool) {
        self.record.stream = stream;
    }

    /// The answer has a body that may carry usage.
    pub(super) fn scan(&mut self, response: ResponseScan) {
        self.response = Some(Box::new(response));
    }

    /// Bytes of the answer's body have come from upstream.
    pub(super) fn chunk(&mut self, bytes: &[u8]) {
        if self.record.time_to_first_chunk.is_none() {
            self.record.time_to_first_chunk = Some(self.began.elapsed());
        }
        if let Some(response) = &mut self.response {
            response.push(bytes);
        }
    }

    /// The request was refused for the model that it names.
    pub(super) fn asked_for(&mut self, model: &str) {
        self.record.request_model = Some(model.to_owned());
    }

    /// Notes what went wrong beside the outcome.
    pub(super) fn note(&mut self, code: &'static str) {
        self.record.error_code = Some(code);
    }

    /// The answer has been read to its end. A stream that ended without its own last word was cut short, however clean the close.
    pub(super) fn complete(&mut self) {
        let reading = self.response.as_ref().map(|response| response.reading());
        match reading {
            // Before the next: nothing comes behind an error, the stream's last word neither.
            Some(reading) if reading.error => self.settle(Outcome::Completed, Some("weir_upstream_failed")),
            // Nothing of a stream that cannot be read says how it ended.
            Some(reading) if self.record.stream && !reading.finished && reading.model.is_some() => {
                self.settle(Outcome::Truncated, Some(TRUNCATED));
            }
            _ => self.settle(Outcome::Completed, None),
        }
    }

    /// Whether the answer's own last word has been seen; `None` where nothing of it is read.
    pub(super) fn finished(&self) -> Option<bool> {
        Some(self.response.as_ref()?.reading().finished)
    }

    /// Books it. What comes after the first call is not booked again.
    pub(super) fn settle(&mut self, outcome: Outcome, code: Option<&'static str>) {
        if std::mem::replace(&mut self.settled, true) {
            return;
        }
        let record = &mut self.record;
        record.outcome = outcome;
        record.error_code = code.or(record.error_code);
        record.duration = self.began.elapsed();
        if let Some(request) = &self.request {
            record.request_model = record.request_model.take().or_else(|| request.model());
        }
        if let Some(response) = &self.response {
            let reading = response.reading();
            record.usage = reading.usage;
            record.response_model = reading.model;
        }
        if let UsageReading::Read(usage) = &record.usage {
            // The answer names what was served; the request's alias is the next best.
            record.cost = [&record.response_model, &record.request_model]
                .into_iter()
                .flatten()
                .find_map(|model| weir_ai::cost(record.provider, model, usage));
        }
        self.telemetry.settle(record);
    }
}

impl Drop for Settlement {
    fn drop(&mut self) {
        match self.finished() {
            // SDKs hang up on the last word of a stream, and don't wait for the end of its bytes.
            Some(true) => self.complete(),
            _ => self.settle(Outcome::ClientGone, None),
        }
    }
}
