package show

import (
	"fmt"
	"strings"

	"github.com/overlayzfs/overlayzfs/integration/bench/result"
)

// summary are the rows that README.md shows.
var summary = []struct{ row, title string }{
	{"cycle", "create, mount, write, unmount a layer"},
	{"remove.base", "remove a base layer of 5,500 files, until the answer"},
	{"changes.base.1", "list one change of a container on that image (`docker diff`)"},
	{"copyup.small", "first change of a 4 KB file of the image, `sync=standard`"},
	{"build.buildkit", "20-step build, storage calls of BuildKit"},
}

// RenderSummary returns the generated part of README.md.
func RenderSummary(r *result.Report) string {
	peers := []string{result.Ours, result.Overlay2, result.ZFS}
	var b strings.Builder
	fmt.Fprintf(&b, "%s.\n\n| | overlayzfs | overlay2 on ZFS | moby's zfs |\n|---|---|---|---|\n", describeMachine(r.Machine))
	for _, s := range summary {
		fmt.Fprintf(&b, "| %s |", s.title)
		for _, peer := range peers {
			text := ""
			if spread, ok := r.SpreadOf(s.row, peer); ok {
				text = FormatFigure(spread.Median, result.Milliseconds)
			}
			fmt.Fprintf(&b, " %s |", text)
		}
		b.WriteString("\n")
	}
	return wrapLines(b.String())
}
