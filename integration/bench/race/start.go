package race

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/overlayzfs/overlayzfs/integration/bench/contenders"
	"github.com/overlayzfs/overlayzfs/integration/bench/result"
)

// storeSizes are numbers of layers in the store when the plugin starts.
var storeSizes = []int{0, 100, 1000, 10_000}

// startGroup starts the plugin on a growing store.
func startGroup(r *runner) group {
	g := group{name: "start", budget: 90 * time.Second}
	for _, n := range storeSizes {
		g.rows = append(g.rows, makeTimeRow("plugin", startID(n), "The process started until it has answered Init, as at a start of the engine; images of ten layers. Warm.",
			"start of the plugin with %d layers", n))
	}
	g.rows = append(g.rows, result.Row{ID: startMemory, Group: "plugin", Unit: result.Bytes, Title: "greatest memory of the plugin, started with 10,000 layers", Note: "VmHWM."})
	g.rows = append(g.rows, makeTimeRow("plugin", coldStart, "The same at the first start after a boot of the host: nothing of the store is in a cache.",
		"start of the plugin with 10000 layers after a boot, cold"))
	g.entries = entriesFor([]string{result.Ours}, 1, func(l *turn) error {
		return errors.Join(l.measureStart(r.open), l.measureColdStart(r.open))
	})
	g.once = true
	return g
}

const (
	startMemory = "start.memory"
	coldStart   = "start.cold"
)

// starts is the number of starts on a store.
const starts = 5

func startID(n int) string { return fmt.Sprintf("start.%d", n) }

func (l *turn) measureStart(s *contenders.Set) (err error) {
	c, err := s.OpenSecond(l.Name, "start")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	made := 0
	for _, n := range storeSizes {
		if err := fillStore(filepath.Join(c.Root, "overlayzfs"), made, n); err != nil {
			return err
		}
		made = n
		if err := l.timeStarts(c, n); err != nil {
			return err
		}
	}
	pid, _ := c.Pid()
	p, err := readProcessUsage(pid)
	l.addSample(startMemory, float64(p.peak))
	return err
}

func (l *turn) timeStarts(c *contenders.Contender, layers int) error {
	for range starts {
		if err := c.StopPlugin(); err != nil {
			return err
		}
		if err := l.timeIdleRow(startID(layers), c.StartPlugin); err != nil {
			return err
		}
		if layers > 0 && !c.Exists(storedLayerID(layers-1)) {
			return errors.New("the plugin does not know the layers in its store")
		}
	}
	return nil
}

// measureColdStart starts the plugin as after boots of the host.
func (l *turn) measureColdStart(s *contenders.Set) (err error) {
	c, err := s.OpenCold(l.Name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	stored := storeSizes[len(storeSizes)-1]
	if err := fillStore(filepath.Join(c.Root, "overlayzfs"), 0, stored); err != nil {
		return err
	}
	for range starts {
		if err := c.StopAndBoot(); err != nil {
			return err
		}
		if err := l.timeRow(coldStart, c.StartPlugin); err != nil {
			return err
		}
		if !c.Exists(storedLayerID(stored - 1)) {
			return errors.New("the plugin does not know the layers in its store")
		}
	}
	return nil
}

func storedLayerID(n int) string { return fmt.Sprintf("%064x", n) }

// fillStore writes layers into a store as docs/on-disk-format.md says. The plugin's
// calls would need an hour. Every tenth layer is an image's base.
func fillStore(home string, from, to int) error {
	for n := from; n < to; n++ {
		if err := writeLayer(home, n); err != nil {
			return err
		}
	}
	return nil
}

func writeLayer(home string, n int) error {
	const perImage = 10
	dir := filepath.Join(home, storedLayerID(n))
	short := func(n int) string { return fmt.Sprintf("%026d", n) }
	if err := errors.Join(os.Mkdir(dir, 0o710), os.Mkdir(filepath.Join(dir, "diff"), 0o755)); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "link"), []byte(short(n)), 0o644); err != nil {
		return err
	}
	if n%perImage < perImage-1 {
		if err := os.WriteFile(filepath.Join(dir, "committed"), nil, 0o600); err != nil {
			return err
		}
	}
	if below := n % perImage; below > 0 {
		var lower []string
		for i := 1; i <= below; i++ {
			lower = append(lower, "l/"+short(n-i))
		}
		if err := errors.Join(os.Mkdir(filepath.Join(dir, "work"), 0o700),
			os.WriteFile(filepath.Join(dir, "lower"), []byte(strings.Join(lower, ":")), 0o644)); err != nil {
			return err
		}
	}
	return os.Symlink("../"+storedLayerID(n)+"/diff", filepath.Join(home, "l", short(n)))
}
