//! `farthing postfix`: the `postconf -e` lines that plug this configuration in.

use serde_json::json;

use super::{Context, Failure};
use crate::config::{Config, Listen, Mode};

/// Where Debian's smtpd and cleanup are locked in: they see unix sockets from there.
const CHROOT: &str = "/var/spool/postfix";

/// What the alias of the command address runs, if mail to it ever is delivered: local(8) sends back what it says.
const ALIAS: &str = "echo Farthing was not there to read this: send it again; exit 69";

/// Carries it out.
///
/// # Errors
/// [`Failure`] of the configuration.
pub fn run(context: &Context) -> Result<(), Failure> {
    let config = context.load_config()?;
    let lines = lines(&config);
    context.print(&json!({"lines": lines}), || lines.iter().map(|line| format!("{line}\n")).collect())
}

fn lines(config: &Config) -> Vec<String> {
    // While only watching, mail must not wait for a filter that is down; once it guards, it must.
    let action = if config.gate.mode == Mode::Observe { "accept" } else { "tempfail" };
    let mut lines = Vec::new();
    if let Some(listen) = config.gate.listen.first() {
        let milter = match listen {
            Listen::Inet(address) => format!("inet:{address}"),
            Listen::Unix(path) => match path.strip_prefix(CHROOT) {
                // Without a `/`, Postfix looks below its queue directory, whether locked in there or not.
                Ok(inside) => format!("unix:{}", inside.display()),
                Err(_) => {
                    lines.push(format!(
                        "# Postfix's smtpd is locked into {CHROOT} on Debian and cannot see {};",
                        path.display()
                    ));
                    lines.push(format!(
                        "# listen at unix:{CHROOT}/farthing/milter.sock or inet:127.0.0.1:8894 there."
                    ));
                    format!("unix:{}", path.display())
                }
            },
        };
        lines.push("# If other milters are set already, keep them and put this one last.".into());
        lines.push(format!("postconf -e 'smtpd_milters = {{ {milter}, default_action={action} }}'"));
        lines.push("postconf -e 'milter_protocol = 6'".into());
        lines.push(
            "# Mail of your users goes through it too, and may go while it is down (for those you have):"
                .into(),
        );
        lines.push(format!("postconf -e 'submission_milters = {{ {milter}, default_action=accept }}'"));
        for service in ["submission", "submissions"] {
            lines.push(format!("postconf -P '{service}/inet/smtpd_milters=$submission_milters'"));
        }
    }
    lines.extend(command_lines(config));
    let domains: Vec<&str> = config.gate.domains.iter().map(crate::address::Domain::as_str).collect();
    lines.push(format!("# These must be domains that Postfix takes mail for: {}", domains.join(" ")));
    lines.push("postfix reload".into());
    lines
}

/// What makes Postfix take mail to the command address. It is never delivered, for the gate does what it says; if the gate
/// is down the alias sends it back, lest it vanish.
fn command_lines(config: &Config) -> Vec<String> {
    let name = &config.commands.address;
    let addresses: Vec<String> =
        config.gate.domains.iter().map(|domain| format!("{name}@{domain}={name}@localhost")).collect();
    vec![
        format!(
            "# Commands by mail, to {name}@ and {name}+TOKEN@ (once; they stand behind what is there already):"
        ),
        "postconf -e 'recipient_delimiter = +'".into(),
        format!(
            "postconf -e \"virtual_alias_maps = $(postconf -h virtual_alias_maps), inline:{{ {} }}\"",
            addresses.join(", ")
        ),
        format!("grep -q '^{name}:' /etc/aliases || echo '{name}: \"|{ALIAS}\"' >>/etc/aliases"),
        "newaliases".into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(gate: &str) -> String {
        let text = format!("[gate]\ndomains = [\"b.example\"]\n{gate}\n");
        lines(&Config::parse(&text, std::path::Path::new("/etc/farthing/farthing.toml")).unwrap()).join("\n")
    }

    #[test]
    fn the_lines_for_each_kind_of_listener() {
        let inet = lines_of("listen = [\"inet:127.0.0.1:8894\"]");
        assert!(inet.contains("'smtpd_milters = { inet:127.0.0.1:8894, default_action=accept }'"), "{inet}");
        let inside =
            lines_of("listen = [\"unix:/var/spool/postfix/farthing/milter.sock\"]\nmode = \"require\"");
        assert!(inside.contains("{ unix:farthing/milter.sock, default_action=tempfail }"), "{inside}");
        let outside = lines_of("listen = [\"unix:/run/farthing/milter.sock\"]");
        assert!(outside.contains("cannot see /run/farthing/milter.sock"), "{outside}");
    }

    #[test]
    fn submission_and_the_command_address() {
        let lines = lines_of("listen = [\"inet:127.0.0.1:8894\"]\nmode = \"require\"");
        for line in [
            "postconf -e 'submission_milters = { inet:127.0.0.1:8894, default_action=accept }'",
            "postconf -P 'submission/inet/smtpd_milters=$submission_milters'",
            "postconf -e 'recipient_delimiter = +'",
            "inline:{ postage@b.example=postage@localhost }\"",
            "|| echo 'postage: \"|echo Farthing was not there to read this: send it again; exit 69\"' >>/etc/aliases",
        ] {
            assert!(lines.contains(line), "{line}\nin:\n{lines}");
        }
    }
}
