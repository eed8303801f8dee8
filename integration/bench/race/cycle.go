package race

import (
	"errors"
	"path/filepath"
	"time"

	"github.com/overlayzfs/overlayzfs/integration/bench/layers"
	"github.com/overlayzfs/overlayzfs/integration/bench/result"
)

// cycles are in one sample: one alone is too short to be told from noise.
const cycles = 5

// cycleGroup is the life of a layer without its content.
func cycleGroup() group {
	const id = "cycle"
	return group{
		name:   "layer cycle",
		budget: 70 * time.Second,
		rows: []result.Row{
			ms("layers", id, "Create, Get, a file of 4 KB, Put, as a build step does; the mean of 5 layers on one image of 20 files. Warm.",
				"create, mount, write, unmount a layer"),
			ms("layers", id+".remove", "Remove of such a layer, the mean of 5.", "remove such a layer"),
		},
		lanes: lanesFor(fullField, 5, func(l *lap) error {
			image, err := l.Image(layers.Small)
			if err != nil {
				return err
			}
			if err := l.settle(); err != nil {
				return err
			}
			return l.cycle(id, image)
		}),
	}
}

func (l *lap) cycle(id, image string) error {
	var ids []string
	begin := time.Now()
	for range cycles {
		layer := l.NewBuildID()
		ids = append(ids, layer)
		if err := l.layerCycle(layer, image); err != nil {
			return err
		}
	}
	l.sample(id, milliseconds(time.Since(begin))/cycles)
	if err := l.settle(); err != nil {
		return err
	}
	begin = time.Now()
	if err := l.removeAll(ids...); err != nil {
		return err
	}
	l.sample(id+".remove", milliseconds(time.Since(begin))/cycles)
	return nil
}

func (l *lap) layerCycle(id, parent string) error {
	if err := l.Create(id, parent, nil); err != nil {
		return err
	}
	return l.Fill(id, func(dir string) error { return writeFile(filepath.Join(dir, "new"), 4096) })
}

// rpcGroup is what the way to the plugin costs.
func rpcGroup() group {
	const id, calls = "rpc", 200
	return group{
		name:   "rpc",
		budget: 15 * time.Second,
		rows: []result.Row{ms("layers", id, "Exists of a layer that is there, the mean of 200 calls in a row. Warm.",
			"one call (Exists)")},
		lanes: lanesFor([]string{result.Ours, result.OursInProcess}, 5, func(l *lap) error {
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
			l.sample(id, milliseconds(time.Since(begin))/calls)
			return nil
		}),
	}
}
