//! `farthing status`: is everything well, and the line to type for each fault.

use serde_json::json;

use super::{Context, Exit, Failure, block_on, table};
use crate::checkup;

/// Carries it out.
///
/// # Errors
/// [`Failure`] of the configuration; 1 when something is not well.
pub fn run(context: &Context) -> Result<(), Failure> {
    let checks = block_on(checkup::running(context.load_config()?))?;
    let ok = checks.iter().all(|check| check.ok);
    context.print(&json!({"ok": ok, "checks": checks}), || {
        let rows = checks
            .iter()
            .map(|check| {
                vec![if check.ok { "ok" } else { "FAULT" }.into(), check.name.clone(), check.detail.clone()]
            })
            .collect();
        table(&["", "WHAT", "HOW IT IS"], rows)
    })?;
    if ok { Ok(()) } else { Err(Failure::said(Exit::No)) }
}
