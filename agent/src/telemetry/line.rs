//! An exchange as one line of JSON: the names of DESIGN §12, absent fields left out.

use std::time::{Duration, SystemTime};

use weir_ai::UsageReading;

use super::record::ExchangeRecord;

/// Strings that a caller makes up are cut here, in bytes: a line stays short whatever the caller sends.
const STRING_LENGTH: usize = 512;

/// Appends the line, newline included.
pub(super) fn write(record: &ExchangeRecord, line: &mut Vec<u8>) {
    let mut object = Object { line };
    object.line.extend_from_slice(b"{\"time\":\"");
    write_time(record.started, object.line);
    object.line.push(b'"');

    let workload = &record.workload;
    object.string("k8s.namespace.name", &workload.namespace);
    object.optional("k8s.pod.name", workload.pod.as_deref());
    object.string("k8s.service_account.name", &workload.service_account);
    object.string("weir.backend", &record.backend);
    object.string("server.address", &record.server_address);
    object.string("http.request.method", record.method.as_str());
    object.string("url.path", &record.path);
    if let Some(status) = record.status {
        object.number("http.response.status_code", u64::from(status.as_u16()));
    }
    object.string("gen_ai.provider.name", record.provider.otel_name());
    object.optional("gen_ai.operation.name", record.operation);
    object.optional("gen_ai.request.model", record.request_model.as_deref());
    object.optional("gen_ai.response.model", record.response_model.as_deref());
    let reading = match &record.usage {
        UsageReading::Read(usage) => {
            object.number("gen_ai.usage.input_tokens", usage.input);
            object.number("gen_ai.usage.output_tokens", usage.output);
            object.number("gen_ai.usage.cache_read.input_tokens", usage.cache_read);
            object.number("gen_ai.usage.cache_creation.input_tokens", usage.cache_creation);
            object.number("gen_ai.usage.reasoning.output_tokens", usage.reasoning);
            "read"
        }
        UsageReading::Unread => "unread",
        UsageReading::None => "none",
    };
    object.string("weir.usage", reading);
    if let Some(cost) = record.cost {
        object.decimal("weir.cost_usd", cost.0 / 1_000_000_000, cost.0 % 1_000_000_000, 9);
    }
    object.key("weir.stream");
    object
        .line
        .extend_from_slice(if record.stream { b"true" } else { b"false" });
    object.string("weir.outcome", record.outcome.as_str());
    object.optional("weir.error.code", record.error_code);
    object.seconds("weir.duration_s", record.duration);
    if let Some(time) = record.time_to_first_chunk {
        object.seconds("weir.time_to_first_chunk_s", time);
    }
    line.extend_from_slice(b"}\n");
}

/// The members of an object, the first of which is written already.
struct Object<'a> {
    line: &'a mut Vec<u8>,
}

impl Object<'_> {
    fn key(&mut self, key: &str) {
        self.line.extend_from_slice(b",\"");
        self.line.extend_from_slice(key.as_bytes()); // all of them ours, none needs an escape
        self.line.extend_from_slice(b"\":");
    }

    fn string(&mut self, key: &str, value: &str) {
        self.key(key);
        let value = &value[..value.floor_char_boundary(STRING_LENGTH)];
        if value.bytes().any(needs_escape) {
            serde_json::to_writer(&mut *self.line, value).expect("a string to memory can't fail");
            return;
        }
        self.line.push(b'"');
        self.line.extend_from_slice(value.as_bytes());
        self.line.push(b'"');
    }

    fn optional(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.string(key, value);
        }
    }

    fn number(&mut self, key: &str, value: u64) {
        self.key(key);
        serde_json::to_writer(&mut *self.line, &value).expect("a number to memory can't fail");
    }

    fn seconds(&mut self, key: &str, value: Duration) {
        self.decimal(key, value.as_secs(), u64::from(value.subsec_micros()), 6);
    }

    /// A decimal number, exact, which a float is not, and never in the form 1e-9.
    fn decimal(&mut self, key: &str, whole: u64, mut fraction: u64, mut digits: usize) {
        self.number(key, whole);
        if fraction == 0 {
            return;
        }
        while fraction.is_multiple_of(10) {
            fraction /= 10;
            digits -= 1;
        }
        let start = self.line.len() + 1;
        self.line.resize(start + digits, b'0');
        self.line[start - 1] = b'.';
        for place in self.line[start..].iter_mut().rev() {
            *place = b'0' + (fraction % 10) as u8;
            fraction /= 10;
        }
    }
}

/// RFC 8259 §7.
fn needs_escape(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
}

/// RFC 3339, UTC, milliseconds. By hand, for `format!` would take a third of the line's time.
fn write_time(time: SystemTime, line: &mut Vec<u8>) {
    let time = time::OffsetDateTime::from(time);
    let parts = [
        (time.year().unsigned_abs(), 4, b'-'),
        (u8::from(time.month()).into(), 2, b'-'),
        (time.day().into(), 2, b'T'),
        (time.hour().into(), 2, b':'),
        (time.minute().into(), 2, b':'),
        (time.second().into(), 2, b'.'),
        (time.millisecond().into(), 3, b'Z'),
    ];
    for (mut number, digits, separator) in parts {
        let start = line.len();
        line.resize(start + digits, b'0');
        for place in line[start..].iter_mut().rev() {
            *place = b'0' + (number % 10) as u8;
            number /= 10;
        }
        line.push(separator);
    }
}

#[cfg(test)]
mod tests;
