//! Emulated links of a development federation.

use dwcp_api::link::{LinkList, LinkSet, LinkSetRequest, LinkTable};
use dwcp_api::page::Nothing;

use super::{Ended, dry, read};
use crate::Exit;
use crate::failure::Failure;
use crate::session::Session;
use crate::show::{Cell, Document, Table, Tone, words};
use crate::typed::Link;

pub fn run(session: &Session, wanted: &Link) -> Ended {
    let Some(from) = &wanted.from else {
        if wanted.heal || wanted.one_way {
            return Err(Failure::usage("which link? give --from REGION, and --to REGION"));
        }
        return read(session, || Ok((shown(&session.call::<LinkList>(&Nothing {})?), Exit::Done)));
    };
    let request = request_of(from, wanted, session.global.dry_run)?;
    let links = session.call::<LinkSet>(&request)?;
    session.show(&shown(&links))?;
    session.note(&format!("set{}", dry(session)));
    Ok(Exit::Done)
}

fn request_of(from: &str, wanted: &Link, dry_run: bool) -> Result<LinkSetRequest, Failure> {
    let given = wanted.rtt.is_some()
        || wanted.jitter.is_some()
        || wanted.loss.is_some()
        || wanted.rate.is_some()
        || wanted.cut.is_some();
    if !given && !wanted.heal {
        return Err(Failure::usage("nothing to set: give --rtt, --jitter, --loss, --rate, --cut or --heal"));
    }
    if given && wanted.heal {
        return Err(Failure::usage("--heal goes back to the published matrix and takes no other value"));
    }
    if wanted.rate.is_some_and(|rate| !rate.is_finite() || rate <= 0.0) {
        return Err(Failure::usage("--rate must be above 0; to let nothing pass use --cut"));
    }
    Ok(LinkSetRequest {
        from: from.to_owned(),
        to: wanted.to.clone().unwrap_or_else(|| "all".to_owned()),
        one_way: wanted.one_way,
        rtt_ms: wanted.rtt.map(|ms| ms as f64),
        loss_percent: wanted.loss,
        jitter_ms: wanted.jitter.map(|ms| ms as f64),
        rate_mbit_s: wanted.rate,
        cut: wanted.cut,
        heal: wanted.heal,
        dry_run,
    })
}

fn shown(links: &LinkTable) -> Document {
    let mut table =
        Table::new(&["FROM", "TO", ">RTT", ">LOSS", ">JITTER", ">MBIT/S", "CUT"]).or("no links are emulated");
    for link in &links.links {
        table.row(vec![
            Cell::from(&link.from),
            Cell::from(&link.to),
            format!("{:.0}ms", link.rtt_ms).into(),
            format!("{:.1}%", link.loss_percent).into(),
            format!("{:.1}ms", link.jitter_ms).into(),
            words::or_dash(link.rate_mbit_s.map(|rate| format!("{rate:.0}"))),
            if link.cut { Cell::toned("cut", Tone::Bad) } else { Cell::from("no") },
        ]);
    }
    Document::of(links).table(table)
}
