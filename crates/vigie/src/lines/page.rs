//! Lines in pages: a server answers a few thousand at a time.
//!
//! The next page begins at the last line's instant, because more lines may have it; those that came
//! already are left out. A page of nothing but lines of one instant cannot be passed this way and
//! is an error that says so: nothing is left out silently.

use super::loki::{Line, Loki};
use anyhow::{Result, bail};
use std::collections::HashMap;

/// Lines of one page.
pub const PAGE_LINES: usize = 5000;

/// From when to when; the end is not in it.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// The first instant.
    pub start_ns: i64,
    /// The first instant no longer wanted.
    pub end_ns: i64,
}

/// Which lines come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The oldest.
    Forward,
    /// The newest.
    Backward,
}

impl Order {
    /// As Loki is asked for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Order::Forward => "FORWARD",
            Order::Backward => "BACKWARD",
        }
    }
}

/// Calls `each` with pages of lines in order, until there are `limit` or no more.
pub async fn pages(
    loki: &Loki,
    query: &str,
    window: Window,
    order: Order,
    limit: usize,
    each: impl FnMut(Vec<Line>) -> Result<()>,
) -> Result<()> {
    let question = Question { query, order, size: PAGE_LINES, categorize: false, extra: &[] };
    question.pages(loki, window, limit, each).await
}

/// A question that is asked page by page.
pub struct Question<'a> {
    /// The query.
    pub query: &'a str,
    /// Which lines come first.
    pub order: Order,
    /// Lines of a page.
    pub size: usize,
    /// Whether structured metadata is kept apart.
    pub categorize: bool,
    /// More parameters.
    pub extra: &'a [(&'a str, String)],
}

impl Question<'_> {
    /// The parameters of a page.
    pub fn form(&self, window: Window, size: usize) -> Vec<(&str, String)> {
        let mut form = vec![
            ("direction", self.order.as_str().to_owned()),
            ("end", window.end_ns.to_string()),
            ("limit", size.to_string()),
            ("query", self.query.to_owned()),
            ("start", window.start_ns.to_string()),
        ];
        form.extend(self.extra.iter().cloned());
        form
    }

    /// One page, in order.
    pub async fn page(&self, loki: &Loki, window: Window, size: usize) -> Result<Vec<Line>> {
        let mut lines = loki.lines(&self.form(window, size), self.categorize).await?;
        match self.order {
            Order::Forward => lines.sort_by_key(|line| line.ts_ns),
            Order::Backward => lines.sort_by_key(|line| std::cmp::Reverse(line.ts_ns)),
        }
        Ok(lines)
    }

    /// All pages.
    pub async fn pages(
        &self,
        loki: &Loki,
        mut window: Window,
        limit: usize,
        mut each: impl FnMut(Vec<Line>) -> Result<()>,
    ) -> Result<()> {
        let mut left = limit;
        let mut told: Vec<Line> = Vec::new();
        while left > 0 && window.start_ns < window.end_ns {
            let size = self.size.min(left.saturating_add(told.len()));
            let page = self.page(loki, window, size).await?;
            let is_last = page.len() < size;
            let Some(edge_ns) = page.last().map(|line| line.ts_ns) else { return Ok(()) };
            let fresh = without(page.clone(), &told);
            if fresh.is_empty() {
                if is_last {
                    return Ok(());
                }
                bail!(
                    "{size} lines or more have the same instant, {edge_ns}: the server does not hand out more, narrow the question"
                );
            }
            left = left.saturating_sub(fresh.len());
            each(fresh)?;
            if is_last {
                return Ok(());
            }
            told = page.into_iter().filter(|line| line.ts_ns == edge_ns).collect();
            match self.order {
                Order::Forward => window.start_ns = edge_ns,
                Order::Backward => window.end_ns = edge_ns.saturating_add(1),
            }
        }
        Ok(())
    }
}

/// The lines that are not among those told before; equal lines count as often as they are there.
fn without(page: Vec<Line>, told: &[Line]) -> Vec<Line> {
    let mut times: HashMap<&Line, usize> = HashMap::new();
    for line in told {
        *times.entry(line).or_default() += 1;
    }
    page.into_iter()
        .filter(|line| match times.get_mut(line) {
            Some(left) if *left > 0 => {
                *left -= 1;
                false
            }
            _ => true,
        })
        .collect()
}
