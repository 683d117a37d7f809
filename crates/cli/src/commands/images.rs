//! Images.

use dwcp_api::image::{
    Image, ImageAnswer, ImageList, ImageListRequest, ImagePublish, ImagePublishRequest, ImageRead,
    ImageReadRequest, ImageRemove, ImageRemoveRequest,
};

use super::{Ended, all_pages, dry, read};
use crate::Exit;
use crate::session::Session;
use crate::show::{Cell, Document, Table, words};
use crate::typed::ImageCommand;

/// Digits of a digest that people are shown.
const SHORT: usize = 12;

pub fn run(session: &Session, command: &ImageCommand) -> Ended {
    match command {
        ImageCommand::List { limit } => read(session, || {
            let page = all_pages::<ImageList, _>(session, *limit, |cursor| ImageListRequest {
                limit: *limit,
                cursor,
                ..Default::default()
            })?;
            let table = table(&page.items);
            Ok((Document::page(&page, table), Exit::Done))
        }),
        ImageCommand::Show { image } => read(session, || {
            let answer = session.call::<ImageRead>(&ImageReadRequest { image: image.clone() })?;
            Ok((shown(&answer), Exit::Done))
        }),
        ImageCommand::Publish { image, host, reason } => {
            let request = ImagePublishRequest {
                image: image.clone(),
                host: host.clone(),
                reason: reason.clone(),
                dry_run: session.global.dry_run,
            };
            let answer = session.call::<ImagePublish>(&request)?;
            let Image { image, digest, hosts, hosts_total, from, bytes, .. } = &answer.image;
            let from = from.as_deref().unwrap_or("a host");
            let line = format!(
                "image {image} is {} of {from} ({}); {hosts} of {hosts_total} hosts have it{}",
                short(digest),
                size(*bytes),
                dry(session)
            );
            session.show(&Document::bare(&answer, line))?;
            Ok(Exit::Done)
        }
        ImageCommand::Remove { image, reason } => {
            let request = ImageRemoveRequest {
                image: image.clone(),
                reason: reason.clone(),
                dry_run: session.global.dry_run,
            };
            let removed = session.call::<ImageRemove>(&request)?;
            let line = format!("image {} is no longer in the catalogue{}", removed.image, dry(session));
            session.show(&Document::bare(&removed, line))?;
            Ok(Exit::Done)
        }
    }
}

fn short(digest: &str) -> &str {
    digest.get(..SHORT).unwrap_or(digest)
}

fn size(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

fn digest_cell(digest: &str) -> Cell {
    Cell { raw: Some(digest.to_owned()), ..Cell::from(short(digest)) }
}

fn table(images: &[Image]) -> Table {
    let mut table = Table::new(&[
        "IMAGE",
        "DIGEST",
        ">SIZE",
        "IN CATALOGUE",
        ">VMS",
        ">HOSTS",
        ">REGIONS",
        "FROM~2",
        "BY~1",
    ])
    .or("no images");
    for image in images {
        table.row(vec![
            Cell::from(&image.image),
            digest_cell(&image.digest),
            size(image.bytes).into(),
            words::instant_or_dash(image.published_at_ms),
            image.vms.into(),
            format!("{}/{}", image.hosts, image.hosts_total).into(),
            image.regions.into(),
            words::or_dash(image.from.as_ref()),
            words::or_dash(image.by.as_ref()),
        ]);
    }
    table
}

fn shown(answer: &ImageAnswer) -> Document {
    let image = &answer.image;
    let document = Document::of(answer).pairs(vec![
        ("image", Cell::from(&image.image)),
        ("digest", Cell::from(&image.digest)),
        ("size", size(image.bytes).into()),
        ("in catalogue", words::instant_or_dash(image.published_at_ms)),
        ("from", words::or_dash(image.from.as_ref())),
        ("by", words::or_dash(image.by.as_ref())),
        ("vms", image.vms.into()),
        ("hosts", format!("{} of {}, in {} regions", image.hosts, image.hosts_total, image.regions).into()),
    ]);
    let mut parts = Table::new(&["FILE", ">BYTES", "SHA-256"]);
    for part in &answer.parts {
        parts.row(vec![Cell::from(&part.file), part.bytes.into(), digest_cell(&part.sha256)]);
    }
    let mut hosts = Table::new(&["HOST", "PRESENT", "IN ITS IMAGE FOLDER"]);
    for host in &answer.hosts {
        hosts.row(vec![
            Cell::from(format!("{}/{}", host.region, host.host)),
            if host.present { "yes" } else { "no" }.into(),
            host.folder.as_deref().map_or_else(|| words::or_dash(None::<&String>), digest_cell),
        ]);
    }
    let mut older = Table::new(&["OLDER DIGEST", ">VMS"]);
    for of in &answer.older {
        older.row(vec![digest_cell(&of.digest), of.vms.into()]);
    }
    let document = document.section("parts", parts).section("hosts", hosts);
    document
        .section("older digests that VMs were created with", older)
        .text_block(words::as_of(&answer.as_of))
}
