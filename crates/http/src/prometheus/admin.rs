//! `admin/tsdb/*` and `status/tsdb/blocks`: deleting series, freeing their room, snapshots, and the
//! blocks there are.
//!
//! What changes the store answers only when the program was started with `--web.enable-admin-api`,
//! and never on a classic port.

use super::success;
use crate::error::ApiError;
use crate::json::Json;
use crate::params::Params;
use crate::state::{State, blocking};
use axum::Router;
use axum::extract;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use vigie_engine::MetricsBlock;

/// Below `/api/v1`.
pub fn router() -> Router<State> {
    Router::new()
        .route("/admin/tsdb/delete_series", post(delete_series).put(delete_series))
        .route("/admin/tsdb/clean_tombstones", post(clean_tombstones).put(clean_tombstones))
        .route("/admin/tsdb/snapshot", post(snapshot).put(snapshot))
}

fn allowed(state: &State) -> Result<(), ApiError> {
    match state.settings.admin_api {
        true => Ok(()),
        false => Err(ApiError::switched_off("admin APIs disabled")),
    }
}

/// 204 once no query sees the samples any more.
async fn delete_series(
    extract::State(state): extract::State<State>,
    params: Params,
) -> Result<Response, ApiError> {
    allowed(&state)?;
    if params.all("match[]").next().is_none() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let range = super::listing::time_range(&params)?;
    let selectors = params
        .all("match[]")
        .map(vigie_promql::parse_selector)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| ApiError::invalid_parameter("match[]", error))?;
    // A range that ends before it starts holds nothing.
    let Some(range) = range else { return Ok(StatusCode::NO_CONTENT.into_response()) };
    let engine = state.engine.clone();
    let deleted = blocking(move || {
        selectors.iter().try_for_each(|matchers| engine.delete_series(matchers, range).map(drop))
    });
    deleted.await?.map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// 204 once the room of what was deleted is free.
async fn clean_tombstones(
    extract::State(state): extract::State<State>,
) -> Result<Response, ApiError> {
    allowed(&state)?;
    let engine = state.engine.clone();
    let cleaned = blocking(move || engine.clean_tombstones()).await?;
    cleaned.map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The name of a new snapshot below `snapshots/` of the data directory.
async fn snapshot(
    extract::State(state): extract::State<State>,
    params: Params,
) -> Result<Response, ApiError> {
    allowed(&state)?;
    let skip_head = match params.get("skip_head") {
        None | Some("0" | "f" | "F" | "false" | "FALSE" | "False") => false,
        Some("1" | "t" | "T" | "true" | "TRUE" | "True") => true,
        Some(other) => {
            let reason = format!(
                "unable to parse boolean: strconv.ParseBool: parsing {other:?}: invalid syntax"
            );
            return Err(ApiError::invalid_parameter("skip_head", reason));
        }
    };
    let engine = state.engine.clone();
    let name = blocking(move || engine.snapshot(skip_head)).await?;
    let name = name.map_err(|error| ApiError::internal(format!("create snapshot: {error}")))?;
    Ok(success(
        |json| {
            json.raw(r#"{"name":"#).text(&name).raw("}");
        },
        &[],
        &[],
    ))
}

/// `/api/v1/status/tsdb/blocks`.
pub async fn blocks(extract::State(state): extract::State<State>) -> Response {
    let blocks = state.engine.metric_blocks();
    success(
        |json| {
            json.raw(r#"{"blocks":"#).list(&blocks, write).raw("}");
        },
        &[],
        &[],
    )
}

fn write(json: &mut Json, block: &MetricsBlock) {
    let id = ulid(block);
    json.raw(r#"{"ulid":"#).text(&id);
    // Prometheus' blocks end before their `maxTime`.
    json.raw(&format!(
        r#","minTime":{},"maxTime":{},"stats":{{"numSamples":{},"numSeries":{},"numChunks":{}}}"#,
        block.min_ms,
        block.max_ms.saturating_add(1),
        block.samples,
        block.series,
        block.sections,
    ));
    json.raw(r#","compaction":{"level":1,"sources":["#).text(&id).raw(r#"]},"version":1}"#);
}

/// A name in Prometheus' form (Crockford's base 32 of 128 bits): the block's end, its checksum and its
/// number, which no other block shares.
fn ulid(block: &MetricsBlock) -> String {
    const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let end = u128::from(block.max_ms.cast_unsigned() & 0xffff_ffff_ffff);
    let bits = end << 80 | u128::from(block.checksum) << 32 | u128::from(block.number);
    (0..26).rev().map(|at| char::from(DIGITS[(bits >> (5 * at) & 31) as usize])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_when_a_block_ends() {
        let block = MetricsBlock {
            number: 31,
            checksum: 1,
            min_ms: 0,
            max_ms: 1_469_918_176_385,
            samples: 1,
            series: 1,
            sections: 1,
        };
        // The time part is the example of the ULID specification.
        assert_eq!(ulid(&block), "01ARYZ6S41000000000400000Z");
    }
}
