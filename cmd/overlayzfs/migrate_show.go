package main

import (
	"cmp"
	"fmt"
	"io"

	"github.com/overlayzfs/overlayzfs/operator/dockerconf"
	"github.com/overlayzfs/overlayzfs/operator/migrate"
)

// writeMigration prints what Docker has and what the action would do.
func writeMigration(w io.Writer, p *migrate.Plan, a migrate.Action) error {
	j := p.Job
	fmt.Fprintf(w, "%s: %s and %s of the driver %s, with %s.\n", p.Root,
		count(p.Images, "image"), count(p.Containers, "container"), cmp.Or(p.Driver, j.From), count(p.Layers, "layer"))
	if p.Resumed {
		from, to := j.From, j.To
		if from == to {
			from, to = oldDriver(j), newDriver(j)
		}
		fmt.Fprintf(w, "A migration from %s to %s was begun; it is %s.\n", from, to, j.Phase)
	}
	steps := forwardSteps(p)
	switch a {
	case migrate.ActionUndo:
		steps = undoSteps(p)
	case migrate.ActionFinish:
		steps = finishSteps(p)
	}
	for i, step := range steps {
		fmt.Fprintf(w, "  %d. %s\n", i+1, step)
	}
	for _, note := range p.Notes {
		fmt.Fprintln(w, "Note:", note)
	}
	err := writeObstacles(w, p.Obstacles)
	fmt.Fprintln(w)
	return err
}

// forwardSteps are the steps of a migration.
func forwardSteps(p *migrate.Plan) []string {
	j := p.Job
	if j.Method == migrate.Import {
		return importSteps(p)
	}
	steps := []string{layersText(p), fmt.Sprintf("change the driver in Docker's records of images and containers to %s", j.To)}
	if j.Method == migrate.Copy {
		steps = append(steps, "set BuildKit's cache aside, which is not copied")
	}
	return append(steps, configText(j, j.To))
}

// importSteps are the steps of a migration to containerd's image store.
func importSteps(p *migrate.Plan) []string {
	j := p.Job
	blobs := "write each image layer's tar as a blob into containerd's content store, and verify its digest"
	if !p.Resumed {
		blobs += fmt.Sprintf(": up to %s, with %s available", bytesText(p.ContentBytes), bytesText(p.ContentAvailable))
	}
	return []string{
		blobs, layersText(p),
		fmt.Sprintf("write manifests, configurations and names of the images into containerd's name space %s", j.ImageStore.Namespace),
		"set BuildKit's cache aside, which is not copied",
		fmt.Sprintf("change the driver in Docker's records of containers to the snapshotter %s", j.To),
		configText(j, j.To),
	}
}

// layersText says how the layers get to their new store.
func layersText(p *migrate.Plan) string {
	j := p.Job
	switch j.Method {
	case migrate.Move:
		return fmt.Sprintf("rename %s to %s; nothing is copied", j.Layers, j.Target)
	case migrate.Stay:
		return fmt.Sprintf("leave the layers on the dataset %s", j.Dataset)
	}
	text := fmt.Sprintf("copy every layer to %s, parents first, and verify its digest", destination(j))
	switch {
	case p.Resumed:
		return text
	case j.Share:
		text += "; files share their blocks with the old ones if the pool supports it"
	default:
		text += fmt.Sprintf(": up to %s, with %s available", bytesText(p.Bytes), bytesText(p.Available))
	}
	if j.Reclaim {
		text += "; delete each old layer after that"
	}
	return text
}

// destination is the store that layers are copied to.
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
	if j.Config != "" && j.Method == migrate.Import && j.From == j.To {
		return fmt.Sprintf("write the feature containerd-snapshotter and the driver %s into %s", driver, j.Config)
	}
	if j.Config == "" && j.Method == migrate.Import && driver == j.To {
		return fmt.Sprintf("leave daemon.json as it is: enable the feature containerd-snapshotter, and start dockerd with --storage-driver %s", driver)
	}
	if j.Config == "" {
		return fmt.Sprintf("leave daemon.json as it is: start dockerd with --storage-driver %s", driver)
	}
	return fmt.Sprintf("write the driver %s into %s", driver, j.Config)
}

// undoSteps are the steps of an undo.
func undoSteps(p *migrate.Plan) []string {
	j := p.Job
	if j.Method == migrate.Import {
		config := configText(j, j.From)
		switch {
		case j.From != j.To:
		case j.Config != "":
			config = "restore " + j.Config
		default:
			config = "leave daemon.json as it is: take the feature containerd-snapshotter from it"
		}
		return []string{
			config,
			fmt.Sprintf("change Docker's records of containers back to %s", oldDriver(j)),
			"restore BuildKit's cache",
			"delete the images and the layers that the migration made, with everything written since: that is lost",
		}
	}
	steps := []string{configText(j, j.From), fmt.Sprintf("change the driver in Docker's records of images and containers to %s", j.From)}
	if j.Method == migrate.Move && j.Layers != "" && j.Target != "" {
		steps = append(steps, fmt.Sprintf("rename %s to %s", j.Target, j.Layers))
	}
	if j.Method == migrate.Copy {
		steps = append(steps, "restore BuildKit's cache", "delete the copied layers, with everything written since: that is lost")
	}
	return steps
}

// oldDriver names the driver that a migration begins at. The plugin and the snapshotter can have
// one name.
func oldDriver(j migrate.Job) string {
	if dockerconf.IsBuiltin(j.From) {
		return "the driver " + j.From
	}
	return "the plugin " + j.From
}

// newDriver names the driver that a migration leads to.
func newDriver(j migrate.Job) string {
	if j.Method == migrate.Import {
		return "the snapshotter " + j.To
	}
	return "the driver " + j.To
}

// finishSteps are the steps that finish a migration.
func finishSteps(p *migrate.Plan) []string {
	if p.Job.Method != migrate.Copy && p.Job.Method != migrate.Import {
		return []string{"forget how to undo the migration"}
	}
	if store, ok := p.Job.SourceStore(""); ok {
		stay := fmt.Sprintf("the layers on %s stay until you destroy it", store.Dataset)
		if store.Dataset == "" {
			stay = fmt.Sprintf("the layers in %s stay until `docker plugin rm %s` deletes them", p.Job.Layers, p.Job.From)
		}
		return []string{fmt.Sprintf("delete Docker's records of the plugin %s, and BuildKit's old cache; %s", p.Job.From, stay)}
	}
	if to := p.Job.To; to == "overlay2" || to == "zfs" {
		return []string{fmt.Sprintf("delete Docker's records of the driver %s; the layers on %s stay until you destroy them", p.Job.From, cmp.Or(p.Job.Dataset, p.Job.Layers))}
	}
	return []string{fmt.Sprintf("delete the layers and records of the driver %s, and BuildKit's old cache", p.Job.From)}
}
