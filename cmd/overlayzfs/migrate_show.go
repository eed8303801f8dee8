package main

import (
	"cmp"
	"fmt"
	"io"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/migrate"
)

// writeMigration prints what there is and what would be done.
func writeMigration(w io.Writer, p *migrate.Plan, a migrate.Action) error {
	j := p.Job
	fmt.Fprintf(w, "In %s Docker has %s and %s of the driver %s, on %s.\n", p.Root,
		number(p.Images, "image"), number(p.Containers, "container"), cmp.Or(p.Driver, j.From), number(p.Layers, "layer"))
	if p.Resumed {
		fmt.Fprintf(w, "A migration from %s to %s was begun; it is %s.\n", j.From, j.To, j.Phase)
	}
	steps := forward(p)
	switch a {
	case migrate.ActionUndo:
		steps = backward(p)
	case migrate.ActionFinish:
		steps = howItEnds(p)
	}
	for i, step := range steps {
		fmt.Fprintf(w, "  %d. %s\n", i+1, step)
	}
	for _, note := range p.Notes {
		fmt.Fprintln(w, "Note:", note)
	}
	for _, why := range p.Obstacles {
		fmt.Fprintln(w, "  but", fault.Printable(why))
	}
	_, err := fmt.Fprintln(w)
	return err
}

// forward is what a migration does.
func forward(p *migrate.Plan) []string {
	j := p.Job
	steps := []string{layersText(p), fmt.Sprintf("have Docker's records of images and containers name the driver %s", j.To)}
	if j.Method == migrate.Copy {
		steps = append(steps, "set BuildKit's cache aside, which is not carried")
	}
	return append(steps, configText(j, j.To))
}

// layersText is how layers get to where they are wanted.
func layersText(p *migrate.Plan) string {
	j := p.Job
	switch j.Method {
	case migrate.Move:
		return fmt.Sprintf("rename %s to %s; nothing is copied", j.Layers, j.Target)
	case migrate.Stay:
		return fmt.Sprintf("leave the layers where they are, on the dataset %s", j.Dataset)
	}
	text := fmt.Sprintf("carry every layer to %s, parents first, and compare it with its digest", destination(j))
	switch {
	case p.Resumed:
		return text
	case j.Share:
		text += "; files share their blocks with the old ones where the pool can"
	default:
		text += fmt.Sprintf(": up to %s, and there is room for %s", bytesText(p.Bytes), bytesText(p.Available))
	}
	if j.Reclaim {
		text += "; old layers are deleted as they are carried"
	}
	return text
}

// destination is where layers are carried to.
func destination(j migrate.Job) string {
	switch {
	case j.To == "zfs":
		return j.ZFSDataset
	case j.Target != "":
		return j.Target
	}
	return j.Dataset
}

func configText(j migrate.Job, driver string) string {
	if j.Config == "" {
		return fmt.Sprintf("leave daemon.json alone: dockerd has to be told the driver %s", driver)
	}
	return fmt.Sprintf("write the driver %s into %s", driver, j.Config)
}

// backward is what an undo does.
func backward(p *migrate.Plan) []string {
	j := p.Job
	steps := []string{configText(j, j.From), fmt.Sprintf("have Docker's records of images and containers name the driver %s", j.From)}
	if j.Method == migrate.Move {
		steps = append(steps, fmt.Sprintf("rename %s to %s", j.Target, j.Layers))
	}
	if j.Method == migrate.Copy {
		steps = append(steps, "bring back BuildKit's cache", "delete the layers that were carried, and what was made or written since: that is lost")
	}
	return steps
}

// howItEnds is what finishing does.
func howItEnds(p *migrate.Plan) []string {
	if p.Job.Method != migrate.Copy {
		return []string{"forget how to undo the migration"}
	}
	if to := p.Job.To; to == "overlay2" || to == "zfs" {
		return []string{fmt.Sprintf("delete Docker's records of the driver %s; the layers on %s stay, destroy them when you like", p.Job.From, cmp.Or(p.Job.Dataset, p.Job.Layers))}
	}
	return []string{fmt.Sprintf("delete the layers and records of the driver %s, and BuildKit's old cache", p.Job.From)}
}
