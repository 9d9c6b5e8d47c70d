//! The HTTP interface: routes, handlers, and the middleware that counts, times and logs.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{HttpResponse, ResponseError, web};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Service;
use crate::database::Failure;
use crate::journal::Request;
use crate::random::Random;

/// Most rows of a list.
const PAGE: i64 = 50;
/// Largest body of a request, in bytes.
const BODY_SIZE_BYTES_MAX: usize = 64 * 1024;
/// The first yearly report finds nothing prepared and takes the slow way, and so does every seventh:
/// by count and not by chance, so that half a minute of visits shows it always.
const REPORT_SLOW_EVERY: u64 = 7;

type State = web::Data<Service>;
type Answer = Result<HttpResponse, Refusal>;

/// An answer that is not what was asked for.
#[derive(Debug)]
pub(crate) enum Refusal {
    NotFound,
    BadPassword,
    Invalid(&'static str),
    Database(Failure),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::NotFound => out.write_str("not found"),
            Refusal::BadPassword => out.write_str("wrong e-mail or password"),
            Refusal::Invalid(reason) => out.write_str(reason),
            Refusal::Database(failure) => failure.fmt(out),
        }
    }
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        match self {
            Refusal::NotFound => StatusCode::NOT_FOUND,
            Refusal::BadPassword => StatusCode::UNAUTHORIZED,
            Refusal::Invalid(_) => StatusCode::BAD_REQUEST,
            Refusal::Database(Failure::Unavailable(_)) => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Database(Failure::Query(_)) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// A client learns what it did wrong; what went wrong on our side stands in the log.
    fn error_response(&self) -> HttpResponse {
        let text = match self {
            Refusal::Database(_) => "internal error".to_owned(),
            other => other.to_string(),
        };
        HttpResponse::build(self.status_code()).json(json!({ "error": text }))
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Refusal::Database(failure)
    }
}

impl From<tokio_postgres::Error> for Refusal {
    fn from(error: tokio_postgres::Error) -> Self {
        Refusal::Database(error.into())
    }
}

/// All routes.
pub(crate) fn routes(app: &mut web::ServiceConfig) {
    app.app_data(web::JsonConfig::default().limit(BODY_SIZE_BYTES_MAX))
        .route("/metrics", web::get().to(metrics))
        .route("/health", web::get().to(health))
        .route("/api/v1/buildings", web::get().to(buildings))
        .route("/api/v1/buildings/{id}", web::get().to(building))
        .route("/api/v1/expenses", web::get().to(expenses))
        .route("/api/v1/expenses", web::post().to(create_expense))
        .route("/api/v1/expenses/{id}/validate", web::put().to(validate_expense))
        .route("/api/v1/payments", web::get().to(payments))
        .route("/api/v1/payments", web::post().to(create_payment))
        .route("/api/v1/users", web::post().to(create_user))
        .route("/api/v1/auth/login", web::post().to(login))
        .route("/api/v1/reports/annual", web::get().to(annual_report))
        .route("/api/v1/documents/{id}/shares", web::get().to(document_shares));
}

/// Counts, times and logs every request, and gives it an id. Scrapes of `/metrics` are counted but
/// not logged: they say nothing about the application.
pub(crate) async fn observe(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let start = Instant::now();
    let service = request.app_data::<State>().cloned();
    let request_id = format!("{:016x}", Random::from_clock().bits());
    let mut response = next.call(request).await?;
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert(HeaderName::from_static("x-request-id"), value);
    }
    let Some(service) = service else { return Ok(response) };
    let took = start.elapsed();
    let asked = response.request();
    let pattern = asked.match_pattern().unwrap_or_else(|| "unmatched".to_owned());
    let status = response.status().as_u16();
    service.metrics.request(asked.method().as_str(), &pattern, status, took);
    if pattern != "/metrics" {
        service.journal.request(Request {
            method: asked.method().as_str(),
            path: asked.path(),
            status,
            duration_ms: milliseconds(took),
            request_id: &request_id,
            error: response.response().error().map(ToString::to_string),
        });
    }
    Ok(response)
}

/// Milliseconds with three decimals.
fn milliseconds(took: Duration) -> f64 {
    took.as_micros() as f64 / 1000.0
}

async fn metrics(service: State) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(service.metrics.render())
}

async fn health(service: State) -> HttpResponse {
    let asked = async {
        if !service.ready.load(Ordering::Acquire) {
            return Err(Failure::Unavailable("its tables are not ready yet".into()));
        }
        service.pool.take().await?.one("SELECT 1", &[]).await
    };
    match asked.await {
        Ok(_) => HttpResponse::Ok().json(json!({"status": "ok", "database": "ok"})),
        Err(failure) => HttpResponse::ServiceUnavailable()
            .json(json!({"status": "degraded", "database": failure.to_string()})),
    }
}

async fn buildings(service: State) -> Answer {
    let sql = "SELECT id, name, address, units FROM buildings ORDER BY id LIMIT $1";
    let rows = service.pool.take().await?.all(sql, &[&PAGE]).await?;
    let list: Result<Vec<Value>, _> = rows.iter().map(building_json).collect();
    Ok(HttpResponse::Ok().json(list?))
}

async fn building(service: State, id: web::Path<i32>) -> Answer {
    let sql = "SELECT id, name, address, units FROM buildings WHERE id = $1";
    let row = service.pool.take().await?.first(sql, &[&id.into_inner()]).await?;
    let row = row.ok_or(Refusal::NotFound)?;
    Ok(HttpResponse::Ok().json(building_json(&row)?))
}

fn building_json(row: &tokio_postgres::Row) -> Result<Value, tokio_postgres::Error> {
    let (id, name, address, units): (i32, &str, &str, i32) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
    Ok(json!({"id": id, "name": name, "address": address, "units": units}))
}

async fn expenses(service: State) -> Answer {
    let sql = "SELECT id, building_id, label, amount_cents, validated_at IS NOT NULL \
               FROM expenses ORDER BY id DESC LIMIT $1";
    let rows = service.pool.take().await?.all(sql, &[&PAGE]).await?;
    let mut list = Vec::with_capacity(rows.len());
    for row in &rows {
        let (id, building, amount): (i32, i32, i64) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(3)?);
        let (label, validated): (&str, bool) = (row.try_get(2)?, row.try_get(4)?);
        list.push(json!({"id": id, "building_id": building, "label": label,
                         "amount_cents": amount, "validated": validated}));
    }
    Ok(HttpResponse::Ok().json(list))
}

#[derive(Deserialize)]
struct NewExpense {
    building_id: i32,
    label: String,
    amount_cents: i64,
}

async fn create_expense(service: State, body: web::Json<NewExpense>) -> Answer {
    if body.amount_cents <= 0 || body.label.is_empty() {
        return Err(Refusal::Invalid("an expense needs a label and a positive amount_cents"));
    }
    let sql = "INSERT INTO expenses (building_id, label, amount_cents) \
               VALUES ($1, $2, $3) RETURNING id";
    let loan = service.pool.take().await?;
    let row = loan.one(sql, &[&body.building_id, &body.label, &body.amount_cents]).await?;
    service.metrics.expense_created();
    Ok(HttpResponse::Created().json(json!({"id": row.try_get::<_, i32>(0)?})))
}

async fn validate_expense(service: State, id: web::Path<i32>) -> Answer {
    let sql = "UPDATE expenses SET validated_at = now() \
               WHERE id = $1 AND validated_at IS NULL RETURNING id";
    let row = service.pool.take().await?.first(sql, &[&id.into_inner()]).await?;
    let row = row.ok_or(Refusal::NotFound)?;
    service.metrics.expense_validated();
    Ok(HttpResponse::Ok().json(json!({"id": row.try_get::<_, i32>(0)?, "validated": true})))
}

async fn payments(service: State) -> Answer {
    let sql = "SELECT id, expense_id, amount_cents, paid_at <= due_at \
               FROM payments ORDER BY id DESC LIMIT $1";
    let rows = service.pool.take().await?.all(sql, &[&PAGE]).await?;
    let mut list = Vec::with_capacity(rows.len());
    for row in &rows {
        let (id, expense, amount): (i32, i32, i64) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let on_time: bool = row.try_get(3)?;
        list.push(json!({"id": id, "expense_id": expense, "amount_cents": amount,
                         "on_time": on_time}));
    }
    Ok(HttpResponse::Ok().json(list))
}

#[derive(Deserialize)]
struct NewPayment {
    expense_id: i32,
    amount_cents: i64,
    /// Days until it is due; negative when it is late.
    due_in_days: i32,
}

async fn create_payment(service: State, body: web::Json<NewPayment>) -> Answer {
    let sql = "INSERT INTO payments (expense_id, amount_cents, due_at) \
               VALUES ($1, $2, now() + $3 * interval '1 day') RETURNING id, paid_at <= due_at";
    let due = f64::from(body.due_in_days);
    let loan = service.pool.take().await?;
    let row = loan.one(sql, &[&body.expense_id, &body.amount_cents, &due]).await?;
    let on_time: bool = row.try_get(1)?;
    service.metrics.payment(on_time);
    Ok(HttpResponse::Created().json(json!({"id": row.try_get::<_, i32>(0)?, "on_time": on_time})))
}

#[derive(Deserialize)]
struct Credentials {
    email: String,
    password: String,
}

async fn create_user(service: State, body: web::Json<Credentials>) -> Answer {
    if !body.email.contains('@') || body.password.len() < 8 {
        return Err(Refusal::Invalid("an account needs an e-mail and a password of 8 characters"));
    }
    let salt = format!("{:016x}", Random::from_clock().bits());
    let sql = "INSERT INTO users (email, salt, password_sha256) \
               VALUES ($1, $2, encode(sha256(convert_to($2 || $3, 'UTF8')), 'hex')) \
               ON CONFLICT (email) DO NOTHING RETURNING id";
    let loan = service.pool.take().await?;
    let row = loan.first(sql, &[&body.email, &salt, &body.password]).await?;
    let row = row.ok_or(Refusal::Invalid("this e-mail has an account"))?;
    service.metrics.user_created();
    Ok(HttpResponse::Created().json(json!({"id": row.try_get::<_, i32>(0)?})))
}

async fn login(service: State, body: web::Json<Credentials>) -> Answer {
    let sql = "WITH known AS (SELECT id FROM users WHERE email = $1 \
               AND password_sha256 = encode(sha256(convert_to(salt || $2, 'UTF8')), 'hex')) \
               INSERT INTO sessions (user_id) SELECT id FROM known RETURNING user_id";
    let loan = service.pool.take().await?;
    let row = loan.first(sql, &[&body.email, &body.password]).await?;
    let row = row.ok_or(Refusal::BadPassword)?;
    Ok(HttpResponse::Ok().json(json!({"user_id": row.try_get::<_, i32>(0)?})))
}

/// Quick when the sums are at hand, slow when they are not: the route to find in `Slowest
/// Endpoints`.
async fn annual_report(service: State) -> Answer {
    let before = service.reports.fetch_add(1, Ordering::Relaxed);
    let slow = before.is_multiple_of(REPORT_SLOW_EVERY);
    // `pg_sleep` stands for the sequential scan that a real report of many years would be.
    let sql = if slow {
        "SELECT sum(amount_cents)::bigint, count(*), (SELECT pg_sleep(1.2) IS NULL) \
         FROM expenses WHERE created_at > now() - interval '10 years'"
    } else {
        "SELECT sum(amount_cents)::bigint, count(*) \
         FROM expenses WHERE created_at > now() - interval '1 year'"
    };
    let row = service.pool.take().await?.one(sql, &[]).await?;
    let (sum, count): (Option<i64>, i64) = (row.try_get(0)?, row.try_get(1)?);
    Ok(HttpResponse::Ok().json(json!({"amount_cents": sum, "expenses": count})))
}

/// The share of each owner in the cost of a document. Its bug is there to be found: a document
/// whose number is a multiple of seven has no owners, and the division fails in the database.
async fn document_shares(service: State, id: web::Path<i32>) -> Answer {
    let sql = "SELECT 70000 / ($1::int % 7)";
    let row = service.pool.take().await?.one(sql, &[&id.into_inner()]).await?;
    Ok(HttpResponse::Ok().json(json!({"share_cents": row.try_get::<_, i32>(0)?})))
}
