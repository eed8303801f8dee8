package race

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/overlayzfs/overlayzfs/integration/bench/layers"
	"github.com/overlayzfs/overlayzfs/integration/bench/result"
)

// containersGroup starts containers of one image in parallel.
func containersGroup(n int) group {
	id := func(what string) string { return fmt.Sprintf("containers.%d.%s", n, what) }
	row := func(what, note, title string) result.Row {
		return result.Row{ID: id(what), Group: "containers", Unit: result.Bytes, Note: note, Title: fmt.Sprintf("%d containers of one image: %s", n, title)}
	}
	times := func(what, note, title string) result.Row {
		return makeTimeRow("containers", id(what), note, "%d containers of one image: %s", n, title)
	}
	// moby's zfs needs three seconds for each container.
	field, rounds, budget := []string{result.Ours, result.OursDisabled, result.Overlay2, result.Overlay2Dis}, 1, 90*time.Second
	if n <= 10 {
		field, rounds, budget = []string{result.Ours, result.ZFS, result.Overlay2}, 1, 40*time.Second
	}
	return group{
		name: fmt.Sprintf("containers %d", n), budget: budget,
		rows: []result.Row{
			times("start", "Both layers of each made and mounted, all containers at once, until the last is.", "start"),
			row("disk", "Growth of the used space of the dataset, after a sync of the pool.", "disk"),
			row("memory", "Growth of the memory in use, without caches and the ARC. It is precise to about 10 MB, and 0 when other processes freed more meanwhile.", "memory"),
			row("cache", "Growth of the page cache after each container had mapped and read the same 16 MB.", "page cache"),
			times("first", "Get of a container when no other is mounted: the median of the first tenth.", "first mount"),
			times("last", "Get when nearly all are mounted: the median of the last tenth.", "last mount"),
		},
		entries: entriesFor(field, rounds, func(l *turn) error { return l.measureContainers(n, id) }),
	}
}

func (l *turn) measureContainers(n int, id func(string) string) error {
	image, err := l.Image(layers.Base)
	if err != nil {
		return err
	}
	files, err := l.mappable(image)
	if err != nil {
		return err
	}
	var ids []string
	for range n {
		ids = append(ids, l.NewID())
	}
	if err := l.awaitIdle(); err != nil {
		return err
	}
	before, err := l.readUsage()
	if err != nil {
		return err
	}
	var dirs []string
	err = l.timeRow(id("start"), func() (err error) {
		dirs, err = l.startAll(image, ids)
		return err
	})
	if err == nil {
		err = l.sampleUsage(before, dirs, files, id)
	}
	err = errors.Join(err, l.forEach(ids, l.Put))
	if err == nil {
		err = l.mountInTurns(ids, id)
	}
	return errors.Join(err, l.forEach(ids, l.Remove), l.forEach(ids, func(c string) error { return l.Remove(c + "-init") }))
}

// mappable lists files of the image, 16 MB together.
func (l *turn) mappable(image string) (names []string, err error) {
	err = l.Fill(image, func(dir string) error {
		names, err = firstFiles(dir, 16<<20)
		return err
	})
	return names, err
}

// startAll makes and mounts containers in parallel.
func (l *turn) startAll(image string, ids []string) ([]string, error) {
	dirs := make([]string, len(ids))
	errs := make([]error, len(ids))
	var all sync.WaitGroup
	for i, id := range ids {
		all.Go(func() {
			if _, _, errs[i] = createContainerLayers(l.Contender, id, image); errs[i] == nil {
				dirs[i], errs[i] = l.Get(id, "")
			}
		})
	}
	all.Wait()
	return dirs, errors.Join(errs...)
}

// sampleUsage samples the disk space, memory and page cache of running containers.
func (l *turn) sampleUsage(before usage, dirs, files []string, id func(string) string) error {
	if err := l.awaitIdle(); err != nil {
		return err
	}
	after, err := l.readUsage()
	if err != nil {
		return err
	}
	l.addSample(id("disk"), growth(before.disk, after.disk))
	l.addSample(id("memory"), growth(before.memory, after.memory))
	if err := readMapped(dirs, files); err != nil {
		return err
	}
	mapped, err := l.readUsage()
	l.addSample(id("cache"), growth(after.cache, mapped.cache))
	return err
}

// growth returns after-before, at least 0: other processes can free memory meanwhile.
func growth(before, after int64) float64 { return float64(max(0, after-before)) }

// readMapped maps and reads the same files in each container, as programs and libraries are.
// The page cache keeps what was read. One file is mapped at a time: User-Mode Linux needs a map
// of its host for each page, and a process has 65,530.
func readMapped(dirs, files []string) error {
	for _, dir := range dirs {
		for _, name := range files {
			if err := readMappedFile(filepath.Join(dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// mountInTurns mounts the containers one after another, and unmounts them at the end.
func (l *turn) mountInTurns(ids []string, id func(string) string) error {
	if err := l.awaitIdle(); err != nil {
		return err
	}
	var took []float64
	err := l.forEach(ids, func(c string) error {
		begin := time.Now()
		_, err := l.Get(c, "")
		took = append(took, milliseconds(time.Since(begin)))
		return err
	})
	if err == nil {
		tenth := max(1, len(took)/10)
		l.addSample(id("first"), result.MeasureSpread(took[:tenth]).Median)
		l.addSample(id("last"), result.MeasureSpread(took[len(took)-tenth:]).Median)
	}
	return errors.Join(err, l.forEach(slices.Clone(ids[:len(took)]), l.Put))
}

// forEach calls do for each layer, even when some calls fail.
func (l *turn) forEach(ids []string, do func(id string) error) error {
	var errs []error
	for _, id := range ids {
		errs = append(errs, do(id))
	}
	return errors.Join(errs...)
}
