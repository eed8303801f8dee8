package snapshot

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// String returns the text of the plan, for a person who has to agree.
func (p *Plan) String() string {
	var b strings.Builder
	if p.Resumes != "" {
		fmt.Fprintf(&b, "A rollback to %s was interrupted; until one is finished the store is not opened.\n", p.Resumes)
	}
	fmt.Fprintf(&b, "Back to snapshot %s (%s, %s):\n", p.Name, cmp.Or(string(p.Event), "not taken by overlayzfs"), p.Time.Format(time.DateTime+" MST"))
	for _, dataset := range p.RollBack {
		fmt.Fprintf(&b, "  %s%s\n", dataset, p.role(dataset))
	}
	b.WriteString("All that was written there since is lost. Datasets that are not listed stay as they are.\n")
	writeList(&b, "Datasets below Docker's data-root that keep their content:", p.Kept)
	if p.Records == "" {
		b.WriteString("Docker's records of images and containers are not in it and stay as they are: they may name layers that are gone.\n")
	}
	writeList(&b, "Newer snapshots of overlayzfs that are destroyed:", p.Newer)
	writeList(&b, "Newer snapshots of OTHERS that are destroyed:", p.Foreign)
	writeList(&b, "Newer bookmarks that are destroyed:", p.Bookmarks)
	spares, containers := p.splitMadeSince()
	writeList(&b, "Datasets of limited containers made since, which are destroyed:", containers)
	writeList(&b, "Datasets without a container yet, made since, which are destroyed:", spares)
	writeList(&b, "Datasets of limited containers that do not come back:", p.Missing)
	writeList(&b, "Unmounted meanwhile, and mounted again:", p.mountTargets())
	return b.String()
}

func (p *Plan) mountTargets() []string {
	var targets []string
	for _, m := range p.Mounts {
		targets = append(targets, m.String())
	}
	return targets
}

// splitMadeSince returns which of the datasets made since have no container yet, and the others.
func (p *Plan) splitMadeSince() (spares, containers []string) {
	for _, dataset := range p.MadeSince {
		if slices.Contains(p.Spares, dataset) {
			spares = append(spares, dataset)
		} else {
			containers = append(containers, dataset)
		}
	}
	return spares, containers
}

func (p *Plan) role(dataset string) string {
	switch {
	case dataset == p.Records:
		return "  (Docker's data-root)"
	case dataset == p.Layers:
		return "  (layers)"
	case slices.Contains(p.Spares, dataset):
		return "  (ready for a limited container)"
	}
	return "  (a limited container)"
}

func writeList(b *strings.Builder, title string, names []string) {
	if len(names) == 0 {
		return
	}
	b.WriteString(title + "\n")
	for _, name := range names {
		b.WriteString("  " + name + "\n")
	}
}
