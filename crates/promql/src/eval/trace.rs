//! What each node of a query cost, for `?explain=1`: noted only when the account asks for it.

use super::{Eval, Result};
use crate::account::{Account, NodeCost};
use crate::syntax::{Node, NodeKind};
use std::sync::Arc;
use std::time::Instant;
use vigie_model::Selection;

impl Eval<'_> {
    /// Evaluates a node and notes what that took.
    pub(super) fn timed<T>(
        &mut self,
        node: &Node,
        evaluate: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let account = self.options.account.as_ref().filter(|account| account.detail().nodes);
        let Some(account) = account else { return evaluate(self) };
        let (account, started) = (Arc::clone(account), Instant::now());
        let at = account.enter(NodeCost {
            depth: self.depth,
            operation: operation(node),
            plan: plan(node),
            span: (node.span.start, node.span.end),
            wall_us: 0,
            series: 0,
            samples: 0,
        });
        self.depth += 1;
        let done = evaluate(self);
        self.depth -= 1;
        if let Some(at) = at {
            account.leave(at, started.elapsed().as_micros() as u64);
        }
        done
    }

    /// Notes what a selection holds. Selections are read one after the other, so the largest counts.
    pub(super) fn note_selection(&mut self, selection: &Selection) -> Result<()> {
        let Some(account) = &self.options.account else { return Ok(()) };
        let (mut series, mut samples, mut bytes) = (0, 0, 0);
        for group in &selection.groups {
            let columns = group.series().len() as u64;
            series += columns;
            samples += columns * group.timestamps_ms().len() as u64;
            bytes += group.held_bytes() as u64;
        }
        account.read(series, samples);
        self.selected_bytes = self.selected_bytes.max(bytes);
        self.room_for(0)
    }

    /// The account, when samples of these steps are counted in it.
    pub(super) fn counting(&self) -> Option<Arc<Account>> {
        let account = self.options.account.as_ref().filter(|_| self.grids == 0);
        account.filter(|account| account.detail().steps).cloned()
    }
}

fn operation(node: &Node) -> String {
    match &node.kind {
        NodeKind::Number { .. } => "number".to_owned(),
        NodeKind::Text(_) => "text".to_owned(),
        NodeKind::Paren(_) => "parentheses".to_owned(),
        NodeKind::Vector(_) => "selector".to_owned(),
        NodeKind::Matrix { .. } => "range selector".to_owned(),
        NodeKind::Subquery(_) => "subquery".to_owned(),
        NodeKind::Unary { .. } => "sign".to_owned(),
        NodeKind::Aggregate(aggregate) => aggregate.op.as_str().to_owned(),
        NodeKind::Call(call) => call.function.name.to_owned(),
        NodeKind::Binary(_) => "binary operation".to_owned(),
    }
}

fn plan(node: &Node) -> &'static str {
    match &node.kind {
        NodeKind::Vector(_) => "columns scanned in morsels; labels only of series handed on",
        NodeKind::Call(call) if call.args.iter().any(is_stored_range) => {
            "columns scanned in morsels; windows found once per group"
        }
        NodeKind::Call(call) if call.args.iter().any(is_subquery) => {
            "the inner query at every instant of its grid, then windows over it"
        }
        NodeKind::Aggregate(_) => "series folded into groups as they come",
        NodeKind::Binary(_) => "both sides evaluated, then joined",
        _ => "step by step",
    }
}

fn is_stored_range(node: &Node) -> bool {
    matches!(node.unparenthesised().kind, NodeKind::Matrix { .. })
}

fn is_subquery(node: &Node) -> bool {
    matches!(node.unparenthesised().kind, NodeKind::Subquery(_))
}
