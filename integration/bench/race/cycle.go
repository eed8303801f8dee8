package race

import (
	"errors"
	"path/filepath"
	"time"

	"github.com/overlayzfs/overlayzfs/integration/bench/layers"
	"github.com/overlayzfs/overlayzfs/integration/bench/result"
)

// cyclesPerSample is the number of cycles in a sample. A single one is too short to
// measure.
const cyclesPerSample = 5

// cycleGroup measures the life of a layer without its content.
func cycleGroup() group {
	const id = "cycle"
	return group{
		name:   "layer cycle",
		budget: 75 * time.Second,
		rows: []result.Row{
			makeTimeRow("layers", id, "CreateReadWrite, Get, a file of 4 KB, Put, as a container's layer; the mean of 5 on one image of 20 files. Warm.",
				"create, mount, write, unmount a layer"),
			makeTimeRow("layers", id+".remove", "Remove of such a layer, the mean of 5.", "remove a container's small layer"),
			makeTimeRow("layers", id+".step", "Create, Get, a new file of 4 KB and one of the image's replaced, Put, as BuildKit does, after which ours is durable with all that was written; the mean of 5.",
				"create, mount, write, unmount a build step with a replaced file"),
		},
		entries: entriesFor(fullField, 10, func(l *turn) error {
			image, err := l.Image(layers.Small)
			if err != nil {
				return err
			}
			if err := l.awaitIdle(); err != nil {
				return err
			}
			containers, err := l.cycleLayers(id, l.NewID, func(id string) error { return l.CreateReadWrite(id, image, nil) }, writeNewFile)
			if err != nil {
				return err
			}
			if err := l.awaitIdle(); err != nil {
				return err
			}
			begin := time.Now()
			if err := l.removeAll(containers...); err != nil {
				return err
			}
			l.addSample(id+".remove", milliseconds(time.Since(begin))/cyclesPerSample)
			if err := l.awaitIdle(); err != nil {
				return err
			}
			steps, err := l.cycleLayers(id+".step", l.NewBuildID, func(id string) error { return l.Create(id, image, nil) }, writeStep)
			return errors.Join(err, l.removeAll(steps...))
		}),
	}
}

// cycleLayers creates, mounts, writes and unmounts layers.
func (l *turn) cycleLayers(row string, newID func() string, create, fill func(string) error) (ids []string, err error) {
	begin := time.Now()
	for range cyclesPerSample {
		id := newID()
		ids = append(ids, id)
		if err := create(id); err != nil {
			return ids, err
		}
		if err := l.Fill(id, fill); err != nil {
			return ids, err
		}
	}
	l.addSample(row, milliseconds(time.Since(begin))/cyclesPerSample)
	return ids, nil
}

// writeNewFile adds a file to a mounted layer.
func writeNewFile(dir string) error { return writeFile(filepath.Join(dir, "new"), 4096) }

// writeStep adds a file to a mounted layer, and replaces one of the image's.
func writeStep(dir string) error {
	return errors.Join(writeNewFile(dir), replaceFiles(dir, layers.Small, 0, 1))
}

// rpcGroup measures a call over the plugin's socket.
func rpcGroup() group {
	const id, calls = "rpc", 200
	return group{
		name:   "rpc",
		budget: 15 * time.Second,
		rows: []result.Row{makeTimeRow("layers", id, "Exists of a layer that is there, the mean of 200 calls in a row. Warm.",
			"one call (Exists)")},
		entries: entriesFor([]string{result.Ours, result.OursInProcess}, 5, func(l *turn) error {
			image, err := l.Image(layers.Small)
			if err != nil {
				return err
			}
			begin := time.Now()
			for range calls {
				if !l.Exists(image) {
					return errors.New("the image is gone")
				}
			}
			l.addSample(id, milliseconds(time.Since(begin))/calls)
			return nil
		}),
	}
}
