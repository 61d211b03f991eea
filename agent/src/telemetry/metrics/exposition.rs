//! How the metrics read to a scraper: names, help, labels.

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabel, EncodeLabelSet, EncodeMetric, LabelSetEncoder, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;

use super::{ALWAYS_REPORTED, Connections, Exchanges, Histogram, Labels, Series, TOKEN_TYPES};
use crate::telemetry::record::ConnectionKind;

/// What is read at a scrape.
#[derive(Debug)]
pub(super) struct Collected {
    pub(super) exchanges: Arc<Exchanges>,
    pub(super) connections: Arc<Connections>,
}

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_connections(&mut encoder)?;
        self.connections.dials().encode(&mut encoder)?;
        self.connections.observed().encode(&mut encoder)?;
        self.connections.uncovered().encode(&mut encoder)?;

        // A copy of the handles: a slow scraper must not hold up an exchange with a new label set.
        let series: Vec<(Labels, Arc<Series>)> = self
            .exchanges
            .series
            .read()
            .iter()
            .map(|(labels, series)| (labels.borrowed().to_owned(), Arc::clone(series)))
            .collect();
        let mut family = |name, help, metric_type, encode: Encode| {
            let mut metric = encoder.encode_descriptor(name, help, None, metric_type)?;
            series
                .iter()
                .try_for_each(|(labels, series)| encode(&mut metric, labels, series))
        };
        family(
            "weir_exchanges",
            "Exchanges by how they ended and the status that the client was given",
            MetricType::Counter,
            encode_ended,
        )?;
        family(
            "weir_tokens",
            "Tokens by type; cached, audio and reasoning tokens are part of input and output",
            MetricType::Counter,
            encode_tokens,
        )?;
        family(
            "weir_cost_usd",
            "Cost in US dollars by public prices; exchanges without a known price are missing",
            MetricType::Counter,
            encode_cost,
        )?;
        family(
            "gen_ai_client_token_usage",
            "Input and output tokens of an exchange",
            MetricType::Histogram,
            |metric, labels, series| {
                encode_histogram(metric, labels, Some("input"), &series.input_usage)?;
                encode_histogram(metric, labels, Some("output"), &series.output_usage)
            },
        )?;
        family(
            "gen_ai_client_operation_duration_seconds",
            "From the request's head to the end of the answer",
            MetricType::Histogram,
            |metric, labels, series| encode_histogram(metric, labels, None, &series.duration),
        )?;
        family(
            "gen_ai_server_time_to_first_token_seconds",
            "From the request's head to the first byte of a streamed answer",
            MetricType::Histogram,
            |metric, labels, series| encode_histogram(metric, labels, None, &series.first_token),
        )
    }
}

impl Collected {
    fn encode_connections(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut metric = encoder.encode_descriptor(
            "weir_connections",
            "Captured connections by what became of them",
            None,
            MetricType::Counter,
        )?;
        for kind in ConnectionKind::ALL {
            metric
                .encode_family(&[("kind", kind.as_str())])?
                .encode_counter::<NoLabelSet, _, f64>(&self.connections.total(kind), None)?;
        }
        encoder
            .encode_descriptor(
                "weir_connections_active",
                "Captured connections that are open now",
                None,
                MetricType::Gauge,
            )?
            .encode_gauge(&self.connections.active())
    }
}

type Encode = fn(&mut MetricEncoder<'_>, &Labels, &Series) -> fmt::Result;

fn encode_ended(metric: &mut MetricEncoder<'_>, labels: &Labels, series: &Series) -> fmt::Result {
    for ((outcome, status), count) in series.ended.lock().clone() {
        let own = [
            ("outcome", outcome.as_str()),
            (
                "http_response_status_code",
                status.as_ref().map_or("", |status| status.as_str()),
            ),
        ];
        metric
            .encode_family(&With { labels, own: &own })?
            .encode_counter::<NoLabelSet, _, f64>(&count, None)?;
    }
    Ok(())
}

fn encode_tokens(metric: &mut MetricEncoder<'_>, labels: &Labels, series: &Series) -> fmt::Result {
    if series.input_usage.get().is_none() {
        return Ok(()); // no usage was ever read
    }
    for (index, ((name, _), tokens)) in TOKEN_TYPES.iter().zip(&series.tokens).enumerate() {
        let tokens = tokens.load(Relaxed);
        if tokens > 0 || index < ALWAYS_REPORTED {
            metric
                .encode_family(&With {
                    labels,
                    own: &[("type", name)],
                })?
                .encode_counter::<NoLabelSet, _, f64>(&tokens, None)?;
        }
    }
    Ok(())
}

fn encode_cost(metric: &mut MetricEncoder<'_>, labels: &Labels, series: &Series) -> fmt::Result {
    if !series.priced.load(Relaxed) {
        return Ok(());
    }
    // Counted in nano-USD; only this rendering is a float, exact to the last nano-USD up to $9 million.
    let cost = series.cost.load(Relaxed) as f64 / 1e9;
    metric
        .encode_family(&With { labels, own: &[] })?
        .encode_counter::<NoLabelSet, _, f64>(&cost, None)
}

fn encode_histogram(
    metric: &mut MetricEncoder<'_>,
    labels: &Labels,
    token_type: Option<&'static str>,
    histogram: &OnceLock<Histogram>,
) -> fmt::Result {
    let Some(histogram) = histogram.get() else {
        return Ok(());
    };
    let own = token_type.map(|token_type| ("gen_ai_token_type", token_type));
    let own = own.as_slice();
    histogram.encode(metric.encode_family(&With { labels, own })?)
}

/// A series' labels and a metric's own.
struct With<'a> {
    labels: &'a Labels,
    own: &'a [(&'a str, &'a str)],
}

impl EncodeLabelSet for With<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        let labels = self.labels;
        let shared = [
            ("gen_ai_provider_name", labels.provider.otel_name()),
            ("gen_ai_operation_name", labels.operation),
            ("gen_ai_request_model", &labels.request_model),
            ("gen_ai_response_model", &labels.response_model),
            ("k8s_namespace_name", &labels.namespace),
            ("k8s_service_account_name", &labels.service_account),
            ("weir_backend", &labels.backend),
        ];
        // To Prometheus an empty label and an absent one are the same.
        for label in shared
            .iter()
            .chain(self.own)
            .filter(|(_, value)| !value.is_empty())
        {
            label.encode(encoder.encode_label())?;
        }
        Ok(())
    }
}
