//go:build vm

package conformance

import (
	"testing"

	"github.com/docker/docker/daemon/graphdriver/graphtest"
)

// moby's own benchmarks, once for each driver.

func BenchmarkOverlayzfs(b *testing.B) { benchmarks(b, registeredName) }
func BenchmarkOverlay2(b *testing.B)   { benchmarks(b, "overlay2") }
func BenchmarkVFS(b *testing.B)        { benchmarks(b, "vfs") }

func benchmarks(b *testing.B, driver string) {
	b.Run("Exists", func(b *testing.B) { graphtest.DriverBenchExists(b, driver) })
	b.Run("GetEmpty", func(b *testing.B) { graphtest.DriverBenchGetEmpty(b, driver) })
	b.Run("DiffBase", func(b *testing.B) { graphtest.DriverBenchDiffBase(b, driver) })
	b.Run("DiffSmallUpper", func(b *testing.B) { graphtest.DriverBenchDiffN(b, 10, 10, driver) })
	b.Run("Diff10KFileUpper", func(b *testing.B) { graphtest.DriverBenchDiffN(b, 10, 10000, driver) })
	b.Run("DiffApply100", func(b *testing.B) { graphtest.DriverBenchDiffApplyN(b, 100, driver) })
	b.Run("DeepLayerDiff20", func(b *testing.B) { graphtest.DriverBenchDeepLayerDiff(b, 20, driver) })
	b.Run("DeepLayerRead20", func(b *testing.B) { graphtest.DriverBenchDeepLayerRead(b, 20, driver) })
}
