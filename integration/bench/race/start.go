package race

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/overlayzfs/overlayzfs/integration/bench/result"
	"github.com/overlayzfs/overlayzfs/integration/bench/stable"
)

// storeSizes are how many layers the plugin finds at its start.
var storeSizes = []int{0, 100, 1000, 10_000}

// startGroup starts the plugin on a store that grows.
func startGroup(r *runner) group {
	g := group{name: "start", budget: 60 * time.Second}
	for _, n := range storeSizes {
		g.rows = append(g.rows, ms("plugin", startID(n), "The process started until it has answered Init, as at a start of the engine; images of ten layers. Warm.",
			"start of the plugin with %d layers", n))
	}
	g.rows = append(g.rows, result.Row{ID: startMemory, Group: "plugin", Unit: result.Bytes, Title: "greatest memory of the plugin, started with 10,000 layers", Note: "VmHWM."})
	g.lanes = lanesFor([]string{result.Ours}, 1, func(l *lap) error { return l.startLap(r.stable) })
	return g
}

const startMemory = "start.memory"

func startID(n int) string { return fmt.Sprintf("start.%d", n) }

func (l *lap) startLap(s *stable.Stable) (err error) {
	c, err := s.Another(l.Name, "start")
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
		if err := l.starts(c, n); err != nil {
			return err
		}
	}
	pid, _ := c.Pid()
	p, err := processUsage(pid)
	l.sample(startMemory, float64(p.peak))
	return err
}

func (l *lap) starts(c *stable.Contender, layers int) error {
	const starts = 3
	for range starts {
		if err := c.StopPlugin(); err != nil {
			return err
		}
		if err := l.settledTimed(startID(layers), c.StartAgain); err != nil {
			return err
		}
		if layers > 0 && !c.Exists(storedID(layers-1)) {
			return errors.New("it does not know the layers it was started with")
		}
	}
	return nil
}

func storedID(n int) string { return fmt.Sprintf("%064x", n) }

// fillStore writes layers into a store as docs/on-disk-format.md has them: made
// by calls, they would take an hour. Each tenth is an image's base.
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
	dir := filepath.Join(home, storedID(n))
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
	return os.Symlink("../"+storedID(n)+"/diff", filepath.Join(home, "l", short(n)))
}
