package e2e

import (
	"strings"

	"github.com/overlayzfs/overlayzfs/integration/walkthrough"
)

// newcomerDocuments are the documents that TestNewcomer follows, in this order.
var newcomerDocuments = []string{"README.md", "docs/quickstart-plugin.md"}

// newcomerSteps lists every step of newcomerDocuments in order. newcomer.replacements
// and adaptCommand have the steps that the lab cannot follow to the letter.
var newcomerSteps = []walkthrough.Expected{
	{Begins: "make demo", Not: "boots the lab, which this is"},
	{Begins: "make test", Not: "runs this"},

	{Begins: "zfs create"},
	{Begins: "zfs set sync=disabled"},
	{Begins: "make plugin build"},
	{Begins: "install build/overlayzfs"},
	{Begins: "docker plugin create"},
	{Begins: "docker plugin set"},
	{Begins: "docker plugin enable"},
	{Begins: `{"experimental"`},
	{Begins: "systemctl restart docker"},
	{Begins: "docker info", Sees: "the driver"},

	{Begins: "docker pull busybox"},
	{Begins: "printf", Sees: "an image"},
	{Begins: "docker run --rm hello", Sees: "its file"},
	{Begins: "docker run -d --name small"},
	{Begins: "docker exec small df", Sees: "the limit"},
	{Begins: "docker exec small dd", Fails: "quota exceeded"},

	{Begins: "overlayzfs snapshot", Sees: "a name"},
	{Begins: "overlayzfs snapshots", Sees: "the snapshot"},
	{Begins: "docker rm -f small", Sees: "no image"},
	{Begins: "systemctl stop docker.socket docker"},
	{Begins: "overlayzfs rollback", Asks: true},
	{Begins: "systemctl start docker"},
	{Begins: "docker ps", Sees: "the same image"},

	{Begins: "docker rm -f small"},
	{Begins: "docker image prune", Asks: true},
	{Begins: "docker builder prune", Asks: true},
	{Begins: "systemctl stop docker.socket docker"},
	{Begins: "overlayzfs migrate --dry-run", Sees: "the plan"},
	{Begins: "overlayzfs migrate", Asks: true},
	{Begins: "systemctl start docker"},
	{Begins: "docker ps", Sees: "the former images on the plugin"},
	{Begins: "systemctl stop docker.socket docker"},
	{Begins: "overlayzfs migrate --finish", Asks: true},
	{Begins: "systemctl start docker"},

	{Begins: "overlayzfs doctor", Sees: "the former images on the plugin"},
	{Begins: "overlayzfs ls", Sees: "the former names"},
	{Begins: "overlayzfs df"},
	{Begins: "overlayzfs verify"},

	{Begins: "systemctl stop docker.socket docker"},
	{Begins: "overlayzfs migrate --back", Asks: true},
	{Begins: "systemctl start docker"},
	{Begins: "docker ps", Sees: "the former images on overlay2"},
	{Begins: "systemctl stop docker.socket docker"},
	{Begins: "overlayzfs migrate --finish", Asks: true},
	{Begins: "systemctl start docker"},
	{Begins: "docker plugin disable"},
	{Begins: "docker plugin rm"},
	{Begins: "zfs destroy -r"},
	{Begins: "zfs destroy"},
	{Begins: "rm /usr/local/sbin/overlayzfs", Sees: "nothing of ours"},
}

// matchSteps returns the steps of the texts of newcomerDocuments. It fails unless they
// are exactly those of newcomerSteps.
func matchSteps(texts []string) ([]walkthrough.Match, error) {
	var documents []walkthrough.Document
	for i, text := range texts {
		documents = append(documents, walkthrough.Document{Name: newcomerDocuments[i], Text: text})
	}
	return walkthrough.MatchSteps(documents, newcomerSteps)
}

// adaptCommand replaces placeholders by the lab's names, and gives containers no
// network, for the guest has none.
func adaptCommand(command, snapshot string) string {
	return strings.NewReplacer(
		"POOL", "tank", "NAME", snapshot,
		"docker run ", "docker run --network none ", "docker build ", "docker build --network none ",
	).Replace(command)
}
