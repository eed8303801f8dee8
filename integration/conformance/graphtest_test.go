//go:build vm

package conformance

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/docker/docker/daemon/graphdriver"
	"github.com/docker/docker/daemon/graphdriver/graphtest"

	"github.com/overlayzfs/overlayzfs/integration/inguest"
)

// The suite runs once for each driver. graphtest skips a driver that fails to start;
// requireDriver fails the test instead.

func TestOverlayzfs(t *testing.T)            { runSuite(t, registeredName) }
func TestOverlay2ForComparison(t *testing.T) { runSuite(t, "overlay2") }
func TestVFSForComparison(t *testing.T)      { runSuite(t, "vfs") }

func runSuite(t *testing.T, driver string) {
	requireDriver(t, driver)
	run := func(name string, test func(t testing.TB, driver string, options ...string)) {
		t.Run(name, func(t *testing.T) { test(t, driver) })
	}
	run("CreateEmpty", graphtest.DriverTestCreateEmpty)
	run("CreateBase", graphtest.DriverTestCreateBase)
	run("CreateSnap", graphtest.DriverTestCreateSnap)
	t.Run("DeepLayerRead125", func(t *testing.T) { graphtest.DriverTestDeepLayerRead(t, 125, driver) })
	t.Run("DiffApply10", func(t *testing.T) { graphtest.DriverTestDiffApply(t, 10, driver) })
	t.Run("DiffApply1000", func(t *testing.T) { graphtest.DriverTestDiffApply(t, 1000, driver) })
	run("Changes", graphtest.DriverTestChanges)
}

// requireDriver opens the driver once, and fails the test if that fails.
func requireDriver(t *testing.T, name string) {
	t.Helper()
	d, err := graphdriver.GetDriver(name, nil, graphdriver.Options{Root: t.TempDir()})
	if err != nil {
		t.Fatalf("%s does not start: %v", name, err)
	}
	if err := d.Cleanup(); err != nil {
		t.Errorf("cleanup: %v", err)
	}
}

// TestALimitIsRequired requires a limit of our driver. No other driver has limits on ZFS.
func TestALimitIsRequired(t *testing.T) {
	requireDriver(t, registeredName)
	before := listDatasets(t)
	graphtest.DriverTestSetQuota(t, registeredName, true)
	// graphtest deletes the store's directory with the layer, and with it the record of
	// the layer's dataset.
	// The driver may be making datasets beforehand, or destroying them.
	err := inguest.Poll(t.Context(), func() error {
		var errs []error
		for name := range listDatasets(t) {
			if before[name] {
				continue
			}
			out, err := exec.Command("zfs", "destroy", name).CombinedOutput()
			errs = append(errs, fmt.Errorf("%s was left; destroy: %w: %s", name, err, out))
		}
		return errors.Join(errs...)
	})
	if err != nil {
		t.Error(err)
	}
}

func listDatasets(t *testing.T) map[string]bool {
	t.Helper()
	out, err := exec.Command("zfs", "list", "-H", "-o", "name").Output()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, name := range strings.Fields(string(out)) {
		names[name] = true
	}
	return names
}
