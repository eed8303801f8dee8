//go:build lab

package powercut

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/vm"
)

// The rounds are chosen behind -args; see README.md.
var (
	rounds    = flag.Int("rounds", 3, "how often the power is cut")
	seed      = flag.Uint64("seed", 0, "seed of loads and cuts; 0 draws one")
	driver    = flag.String("driver", Plugin, "overlayzfs, the plugin; snapshotter; or overlay2 for comparison: its losses are counted and no failure")
	suite     = flag.String("suite", vm.DefaultSuite, "the machine's suite; an engine tier with snapshotter needs one whose dockerd has a containerd image store")
	syncProp  = flag.String("sync", "", "the dataset's sync property; both standard and disabled by default")
	lanes     = flag.Int("lanes", 0, "how many machines at a time share the rounds, each with a pool of its own; 0 for one a processor under User-Mode Linux, and otherwise one")
	goOn      = flag.Bool("go-on", false, "go on after a round that finds something")
	artefacts = flag.String("dir", "", "directory for the pool and the machine's words, kept; by default a temporary one that is kept after a failure")
)

func TestDriver(t *testing.T) { tier(t, DriverTier) }
func TestEngine(t *testing.T) { tier(t, EngineTier) }

func tier(t *testing.T, tier Tier) {
	guest, choice := guest(t)
	t.Log(choice)
	c := Config{
		Tier: tier, Driver: *driver, Fast: choice.Kind != vm.KindQEMU,
		Load: build(t, "..", "./cmd/cutload"), Plugin: binary(t, "OVERLAYZFS_PLUGIN", "./cmd/overlayzfs-plugin"),
		Snapshotter: binary(t, "OVERLAYZFS_SNAPSHOTTER", "./cmd/overlayzfs-snapshotter"), PluginConfig: "../../config.json", Dist: "../../dist",
		GoOn: *goOn || *driver == Overlay2,
	}
	for _, property := range properties() {
		c.Sync = property
		t.Run(property, func(t *testing.T) { cutInLanes(t, guest, c, countLanes(choice)) })
	}
}

// countLanes is how many machines cut at a time. Emulated ones keep more than
// one processor busy each.
func countLanes(choice vm.Choice) int {
	n := *lanes
	if n == 0 && choice.Kind == vm.KindUML {
		n = runtime.NumCPU()
	}
	return max(1, min(n, *rounds))
}

func properties() []string {
	if *syncProp != "" {
		return []string{*syncProp}
	}
	return []string{"standard", "disabled"}
}

// cutInLanes shares the rounds among machines that run side by side.
func cutInLanes(t *testing.T, guest *vm.Guest, c Config, lanes int) {
	var mu sync.Mutex
	sum, first := &Tally{}, drawSeed()
	t.Run("lanes", func(t *testing.T) {
		for lane := range lanes {
			c := c
			c.Rounds, c.Seed = (*rounds+lane)/lanes, first+uint64(lane)
			t.Run(strconv.Itoa(lane+1), func(t *testing.T) {
				t.Parallel()
				c.Dir, c.Log = workDir(t), t.Logf
				tally := cutPower(t, guest, c)
				mu.Lock()
				defer mu.Unlock()
				sum.Add(tally)
			})
		}
	})
	t.Logf("%s tier, %s, sync=%s, seed %d: %s", c.Tier, c.Driver, c.Sync, first, sum)
}

func cutPower(t *testing.T, guest *vm.Guest, c Config) *Tally {
	property, _, _ := strings.Cut(t.Name(), "/lanes")
	t.Logf("again: go test -tags lab -timeout 0 ./powercut -run '%s' -v -args -seed %d -rounds %d -lanes 1 -driver %s -sync %s -suite %s",
		property, c.Seed, c.Rounds, c.Driver, c.Sync, *suite)
	tally, err := Run(t.Context(), guest, c)
	t.Logf("seed %d: %s", c.Seed, tally)
	switch {
	case err != nil:
		t.Error(err)
	case c.Driver != Overlay2 && tally.Failures() > 0:
		t.Errorf("%d findings; seed %d", tally.Failures(), c.Seed)
	}
	return tally
}

// drawSeed is the seed to use. A load does not run the same twice, whatever
// its seed: what it does is the same, when is not.
func drawSeed() uint64 {
	if *seed != 0 {
		return *seed
	}
	return newSeed()
}

func guest(t *testing.T) (*vm.Guest, vm.Choice) {
	t.Helper()
	lab, err := vm.Open(*suite)
	if err != nil {
		t.Fatal(err)
	}
	g, choice, err := lab.Prepare(t.Context(), "", os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	return g, choice
}

// workDir is a directory that stays when the test fails.
func workDir(t *testing.T) string {
	t.Helper()
	if *artefacts != "" {
		dir := filepath.Join(*artefacts, strings.ReplaceAll(t.Name(), "/", "-"))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	dir, err := os.MkdirTemp("", "powercut-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("kept: %s (pool-before.img is the pool as the last cut left it, pool.img after the start that followed)", dir)
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// binary is the program that the environment names, or one built now.
func binary(t *testing.T, env, command string) string {
	t.Helper()
	if path := os.Getenv(env); path != "" {
		return path
	}
	return build(t, "../..", command)
}

func build(t *testing.T, module, command string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), filepath.Base(command))
	cmd := exec.Command("go", "build", "-ldflags", "-s -w", "-o", path, command)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", command, err, out)
	}
	return path
}
