package snapshot

import (
	"fmt"
	"strings"
	"time"
)

// String says what the rollback will do, for a person who has to agree.
func (p *Plan) String() string {
	var b strings.Builder
	if p.Resumes != "" {
		fmt.Fprintf(&b, "A rollback to %s was interrupted; until one is finished the store is not opened.\n", p.Resumes)
	}
	fmt.Fprintf(&b, "Back to snapshot %s (%s, %s):\n", p.Name, p.Event, p.Time.Format(time.DateTime+" MST"))
	for _, dataset := range p.Back {
		fmt.Fprintf(&b, "  %s%s\n", dataset, p.role(dataset))
	}
	b.WriteString("All that was written there since is lost. Datasets that are not listed stay as they are.\n")
	if p.Records == "" {
		b.WriteString("Docker's records of images and containers are not in it and stay as they are: they may name layers that are gone.\n")
	}
	list(&b, "Newer snapshots of overlayzfs that are destroyed:", p.Newer)
	list(&b, "Newer snapshots of OTHERS that are destroyed:", p.Foreign)
	list(&b, "Datasets of limited containers made since, which are destroyed:", p.Later)
	list(&b, "Datasets of limited containers that do not come back:", p.Missing)
	return b.String()
}

func (p *Plan) role(dataset string) string {
	switch dataset {
	case p.Records:
		return "  (Docker's data-root, its volumes included)"
	case p.Layers:
		return "  (layers)"
	}
	return "  (a limited container)"
}

func list(b *strings.Builder, title string, names []string) {
	if len(names) == 0 {
		return
	}
	b.WriteString(title + "\n")
	for _, name := range names {
		b.WriteString("  " + name + "\n")
	}
}
