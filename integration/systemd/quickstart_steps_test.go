package systemd

import (
	"strings"

	"github.com/overlayzfs/overlayzfs/integration/walkthrough"
)

// quickStartPage is the document that TestSetup follows.
const quickStartPage = "docs/quickstart-snapshotter.md"

// quickStartSteps lists every step of quickStartPage in order. quickStart.replacements and
// adaptCommand have the steps that the lab cannot follow to the letter.
var quickStartSteps = []walkthrough.Expected{
	{Begins: "dpkg -i", Sees: "the package"},
	{Begins: "overlayzfs setup POOL/docker", Asks: true, Sees: "Docker on the snapshotter"},
	{Begins: `{"features"`, Sees: "the keys of setup"},

	{Begins: "docker run --rm hello-world", Sees: "its greeting"},
	{Begins: "ctr -n moby snapshots --snapshotter overlayzfs ls", Sees: "its layer"},
	{Begins: "ctr -n moby snapshots --snapshotter overlayzfs usage", Sees: "its space"},
	{Begins: "overlayzfs ls", Sees: "the image"},
	{Begins: "overlayzfs df", Sees: "one image"},
	{Begins: "overlayzfs snapshot", Sees: "a name"},
	{Begins: "overlayzfs snapshots", Sees: "the snapshot, and pods"},

	{Begins: "overlayzfs setup --undo", Asks: true, Sees: "the host before setup"},
	{Begins: "apt purge overlayzfs", Sees: "the host before the package"},
}

// matchQuickStart returns the steps of a text of quickStartPage. It fails unless they are
// exactly those of quickStartSteps.
func matchQuickStart(text string) ([]walkthrough.Match, error) {
	return walkthrough.MatchSteps([]walkthrough.Document{{Name: quickStartPage, Text: text}}, quickStartSteps)
}

// adaptCommand replaces placeholders by the lab's names, and gives containers no network,
// for the guest has none.
func adaptCommand(command, version string) string {
	return strings.NewReplacer(
		"POOL", "tank", "VERSION", version, "docker run ", "docker run --network none ",
	).Replace(command)
}
