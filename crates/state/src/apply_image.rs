//! Applies what is published, removed and noticed of images.
//!
//! Which VMs use an image is in other groups' facts, so it is looked at before a removal is proposed. What slips between is
//! harmless: a VM carries the digest that it was created with, and hosts keep what any VM was created with.

use dwcp_types::{Code, Refusal, check_parts, is_plain_name, is_sha256};

use crate::apply_region::{Applied, Stamp};
use crate::command::Receipt;
use crate::{Core, Image, ImageFault, RegionFacts, Severity};

impl Core {
    pub(crate) fn publish_image(&mut self, asked: &Image, stamp: &Stamp<'_>) -> Applied {
        let bad = |why: String| Refusal::new(Code::BadValue, "that is no image").because(why);
        if !is_plain_name(&asked.name) || !is_sha256(asked.digest.as_str()) {
            return Err(bad(format!("`{}` as {}", asked.name, asked.digest)));
        }
        check_parts(&asked.parts).map_err(bad)?;
        let known = self.images.get(&asked.name);
        if known.is_some_and(|known| known.digest == asked.digest) {
            return Ok(Receipt::default());
        }
        if known.is_none() && self.images.len() >= Image::MOST {
            let refusal =
                Refusal::new(Code::WrongState, format!("the catalogue has {} images", self.images.len()));
            return Err(refusal.try_this("dwcp-cli image remove NAME"));
        }
        let before = known.map_or_else(|| "none".to_string(), |known| known.digest.short().to_string());
        let image = Image {
            by: stamp.envelope.by.clone(),
            at: stamp.envelope.at,
            revision: stamp.revision,
            ..asked.clone()
        };
        let text = format!(
            "image {} is {} from now on, {} MiB, as {}/{} has it{}",
            image.name,
            image.digest.short(),
            image.bytes().div_ceil(1 << 20),
            image.region,
            image.host,
            stamp.because()
        );
        let event = stamp.event(Severity::Info, "image.published", &image.name, text);
        self.ledger.note(event.changing(before, image.digest.short()));
        self.images.insert(image.name.clone(), image);
        Ok(Receipt::default())
    }

    pub(crate) fn remove_image(&mut self, name: &str, stamp: &Stamp<'_>) -> Applied {
        let Some(image) = self.images.remove(name) else {
            let refusal = Refusal::new(Code::UnknownImage, format!("no image {name} is in the catalogue"));
            return Err(refusal.try_this("dwcp-cli image list"));
        };
        let text = format!("image {name} is no longer in the catalogue{}", stamp.because());
        let event = stamp.event(Severity::Info, "image.removed", name, text);
        self.ledger.note(event.changing(image.digest.short(), "none"));
        Ok(Receipt::default())
    }
}

impl RegionFacts {
    pub(crate) fn note_image_fault(&mut self, fault: &ImageFault, stamp: &Stamp<'_>) -> Applied {
        let ImageFault { name, digest, host, from_region, from_host, reason } = fault;
        let from = if from_host == host && *from_region == self.name {
            "its own copy".to_string()
        } else {
            format!("what {from_region}/{from_host} gave")
        };
        let text = format!("host {host} discarded {from} for image {name} {}: {reason}", digest.short());
        self.ledger.note(stamp.event(Severity::Warning, "image.damaged", name, text));
        Ok(Receipt::default())
    }
}
