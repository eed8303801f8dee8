package e2e

import (
	"fmt"
	"strings"

	"github.com/overlayzfs/overlayzfs/integration/walkthrough"
)

// newcomerDocuments are the documents that TestNewcomer follows, in this order.
var newcomerDocuments = []string{"README.md", "docs/quickstart-plugin.md"}

// expectedStep is what TestNewcomer knows of a step of these documents.
type expectedStep struct {
	begins string // its first words
	sees   string // what is looked at after it: a key of newcomer.looks
	fails  string // it is meant to fail, and says this
	asks   bool   // it asks, and is answered with yes
	not    string // why it is not followed
}

// newcomerSteps lists every step of newcomerDocuments, in their order. newcomer.instead
// and adaptCommand have the steps that the lab follows in another way.
var newcomerSteps = []expectedStep{
	{begins: "make demo", not: "boots the lab, which this is"},
	{begins: "make test", not: "runs this"},

	{begins: "zfs create"},
	{begins: "zfs set sync=disabled"},
	{begins: "make plugin build"},
	{begins: "install build/overlayzfs"},
	{begins: "docker plugin create"},
	{begins: "docker plugin set"},
	{begins: "docker plugin enable"},
	{begins: `{"experimental"`},
	{begins: "systemctl restart docker"},
	{begins: "docker info", sees: "the driver"},

	{begins: "docker pull busybox"},
	{begins: "printf", sees: "an image"},
	{begins: "docker run --rm hello", sees: "its file"},
	{begins: "docker run -d --name small"},
	{begins: "docker exec small df", sees: "the limit"},
	{begins: "docker exec small dd", fails: "quota exceeded"},

	{begins: "overlayzfs snapshot", sees: "a name"},
	{begins: "overlayzfs snapshots", sees: "the snapshot"},
	{begins: "docker rm -f small", sees: "no image"},
	{begins: "systemctl stop docker.socket docker"},
	{begins: "umount /var/lib/docker"},
	{begins: "overlayzfs rollback", asks: true},
	{begins: "zfs mount"},
	{begins: "systemctl start docker"},
	{begins: "docker ps", sees: "the same image"},

	{begins: "docker rm -f small"},
	{begins: "docker image prune", asks: true},
	{begins: "docker builder prune", asks: true},
	{begins: "systemctl stop docker.socket docker"},
	{begins: "overlayzfs migrate --dry-run", sees: "the plan"},
	{begins: "overlayzfs migrate", asks: true},
	{begins: "systemctl start docker"},
	{begins: "docker ps", sees: "the former images on the plugin"},
	{begins: "systemctl stop docker.socket docker"},
	{begins: "overlayzfs migrate --finish", asks: true},
	{begins: "systemctl start docker"},

	{begins: "overlayzfs doctor", sees: "the former images on the plugin"},
	{begins: "overlayzfs ls", sees: "the former names"},
	{begins: "overlayzfs df"},
	{begins: "overlayzfs verify"},

	{begins: "systemctl stop docker.socket docker"},
	{begins: "overlayzfs migrate --back", asks: true},
	{begins: "systemctl start docker"},
	{begins: "docker ps", sees: "the former images on overlay2"},
	{begins: "systemctl stop docker.socket docker"},
	{begins: "overlayzfs migrate --finish", asks: true},
	{begins: "systemctl start docker"},
	{begins: "docker plugin disable"},
	{begins: "docker plugin rm"},
	{begins: "zfs destroy -r"},
	{begins: "zfs destroy"},
	{begins: "rm /usr/local/sbin/overlayzfs", sees: "nothing of ours"},
}

// documentStep is one step of a document, and its entry in newcomerSteps.
type documentStep struct {
	walkthrough.Step
	expectedStep
	document string
}

// matchSteps returns the steps of newcomerDocuments, whose texts it is given. It returns
// an error when a step is not in newcomerSteps, or one of newcomerSteps is missing.
func matchSteps(texts []string) (all []documentStep, err error) {
	for i, text := range texts {
		document := newcomerDocuments[i]
		steps, err := walkthrough.Read(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", document, err)
		}
		for _, step := range steps {
			if len(all) == len(newcomerSteps) {
				return nil, fmt.Errorf("%s, line %d: newcomerSteps has no step %q: add it", document, step.Line, step.Text)
			}
			want := newcomerSteps[len(all)]
			if !want.is(step.Text) {
				return nil, fmt.Errorf("%s, line %d: the step is %q, want %q of newcomerSteps", document, step.Line, step.Text, want.begins)
			}
			all = append(all, documentStep{step, want, document})
		}
	}
	if n := len(all); n < len(newcomerSteps) {
		return nil, fmt.Errorf("no document has the step %q of newcomerSteps", newcomerSteps[n].begins)
	}
	return all, nil
}

// is reports whether a text begins with the step's first words.
func (k expectedStep) is(text string) bool {
	rest, ok := strings.CutPrefix(text, k.begins)
	return ok && (rest == "" || strings.ContainsAny(rest[:1], " \n:"))
}

// adaptCommand replaces the names in a command by the lab's. The guest has no network.
func adaptCommand(command, snapshot string) string {
	return strings.NewReplacer(
		"POOL", "tank", "NAME", snapshot,
		"docker run ", "docker run --network none ", "docker build ", "docker build --network none ",
	).Replace(command)
}
