package doctor

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// checkStore checks the store's layers, and interrupted commands.
func checkStore(f Facts) []Finding {
	const check = "store"
	s := f.Store
	switch {
	case f.Docker.LocationErr != nil:
		return []Finding{{check, Note, f.Docker.LocationErr.Error(), "", ""}}
	case s == nil:
		return nil
	case s.Running != "":
		return []Finding{{check, Note, s.Running + " is running", "what it has begun is not judged, and layers are not tested meanwhile", ""}}
	}
	found := findLeftovers(s, f.Dataset, f.Docker.commandFlags())
	if s.Err != nil {
		found = append(found, Finding{check, Note, s.Err.Error(), "its layers were not compared with the engine's records", ""})
	}
	if s.Rollback != "" {
		found = append(found, Finding{check, Broken, "a rollback to " + s.Rollback + " was cut short", "the store does not open until it is finished", fmt.Sprintf("overlayzfs rollback %s@%s%s", f.Dataset, s.Rollback, s.RollbackFlags)})
	}
	if s.Receiving != "" {
		found = append(found, Finding{check, Broken, "receiving the stream " + s.Receiving + " was cut short", "the store does not open until it is finished", fmt.Sprintf("overlayzfs receive --finish --yes --dataset %s%s    # dockerd stopped", f.Dataset, f.Docker.commandFlags())})
	}
	if s.Damaged > 0 {
		found = append(found, Finding{check, Broken, fmt.Sprintf("%d layers are damaged", s.Damaged), "what stands on them cannot be mounted", "overlayzfs ls | grep damaged; overlayzfs verify"})
	}
	if s.Missing > 0 {
		found = append(found, Finding{check, Broken, fmt.Sprintf("%s knows %d layers that are not there", s.engine(), s.Missing), "their images and containers do not start", "overlayzfs verify    # names the images: remove them and pull them again"})
	}
	if len(found) == 0 {
		return okFinding(check, "in order")
	}
	return found
}

// engine names the engine that records the layers.
func (s *Store) engine() string { return cmp.Or(s.Engine, "Docker") }

// daemons names the daemons that use the store.
func (s *Store) daemons() string {
	if s.engine() == "Docker" {
		return "dockerd"
	}
	return "containerd and overlayzfs-snapshotter"
}

func findLeftovers(s *Store, dataset, flags string) (found []Finding) {
	const check = "leftovers"
	if s.Unknown > 0 && s.Warnings == 0 {
		found = append(found, Finding{check, Note, fmt.Sprintf("%d layers that %s does not know", s.Unknown, s.engine()), "they take space", "overlayzfs gc" + flags + "    # " + s.daemons() + " stopped; it shows them and asks"})
	}
	if s.Removing > 0 {
		found = append(found, Finding{check, Note, fmt.Sprintf("%d removed layers whose files are still there", s.Removing), "they are deleted in the background, or at the plugin's next start", ""})
	}
	if s.Removed > 0 {
		found = append(found, Finding{check, Note, fmt.Sprintf("%d datasets of removed containers below %s/removed", s.Removed, dataset),
			"snapshots from before the removal keep them; the driver destroys each within a minute of its last",
			"zfs list -r -t snapshot -o name,used " + dataset + "/removed    # " + pruneAdvice(dataset)})
	}
	for _, dataset := range s.Scratch {
		found = append(found, Finding{check, Note, "dataset " + dataset, "an examination that was cut short left it", "zfs destroy -r " + dataset})
	}
	for _, mount := range s.Mounts {
		found = append(found, Finding{check, Note, "mount " + mount, "a command that was killed left it", "umount -R " + mount + "; rmdir " + mount})
	}
	return found
}

// pruneAdvice says what makes other programs destroy their old snapshots of removed containers:
// they do so only with what their configuration covers.
func pruneAdvice(layers string) string {
	parent, name := path.Split(layers)
	parent = strings.TrimSuffix(parent, "/")
	return fmt.Sprintf("sanoid: [%[1]s] with recursive = zfs and autoprune = yes, and no section for removed; "+
		"syncoid beside it: --no-sync-snap --exclude='/%[2]s/removed(/|$)'; syncoid alone: nothing excluded; "+
		"zrepl: filesystems: {\"%[1]s<\": true}, nothing excluded; TrueNAS: Recursive, nothing in Exclude; "+
		"zfs-auto-snapshot, Proxmox VE: nothing to configure", parent, name)
}

// slowCopyUp is the duration from which a person notices a copy-up.
const slowCopyUp = 5 * time.Millisecond

const overlayCheck = "overlayfs on ZFS"

// checkProbe checks the results of RunProbe.
func checkProbe(f Facts) []Finding {
	p := f.Probe
	switch {
	case p == nil:
		return nil
	case errors.Is(p.Err, fault.Unsupported):
		return []Finding{{overlayCheck, Broken, p.Err.Error(), "the driver does not start on this dataset", "install or create what is named, and name it with overlayzfs.dataset"}}
	case p.Err != nil:
		return []Finding{{"probe", Warning, p.Err.Error(), "what overlayfs and limits need was not tried", ""}}
	}
	found := okFinding(overlayCheck, "all that layers need works")
	found = append(found, okFinding("limits", p.Quota)...)
	if strings.HasPrefix(p.Quota, "off") {
		found[1] = Finding{"limits", Warning, p.Quota, "docker run --storage-opt size= is refused", ""}
	}
	return append(found, checkCopyUp(p, f.Dataset)...)
}

func checkCopyUp(p *Probe, dataset string) []Finding {
	const check = "copy-up"
	took := p.CopyUp.Took.Round(10*time.Microsecond).String() + " for a file's first change in a container, with sync=" + p.Sync
	switch {
	case p.CopyUp.Took == 0:
		return []Finding{{check, Note, "not measured", "", ""}}
	case p.CopyUp.Waits != nil && p.CopyUp.Took > slowCopyUp && p.Sync != "disabled":
		return []Finding{{check, Note, took, "it waits for a transaction group: " + p.CopyUp.Waits.Error(), "zfs set sync=disabled " + dataset + "    # no wait; a power cut then takes up to five seconds of what containers wrote, images are safe"}}
	case p.CopyUp.Waits != nil:
		return okFinding(check, took+", by O_TMPFILE: "+p.CopyUp.Waits.Error())
	}
	return okFinding(check, took+", by a rename, which waits for no transaction group")
}
