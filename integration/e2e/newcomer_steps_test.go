package e2e

import (
	"fmt"
	"strings"

	"github.com/overlayzfs/overlayzfs/integration/walkthrough"
)

// newcomerDocuments are the documents that TestNewcomer follows, in this order.
var newcomerDocuments = []string{"README.md", "docs/quickstart-plugin.md"}

// expectedStep is what TestNewcomer expects of a step.
type expectedStep struct {
	begins string // its first words
	sees   string // the check after it: a key of newcomer.checks
	fails  string // the step has to fail, with this text
	asks   bool   // the command asks; the answer is yes
	not    string // why the test skips it
}

// newcomerSteps lists every step of newcomerDocuments in order. newcomer.replacements
// and adaptCommand have the steps that the lab cannot follow to the letter.
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
	{begins: "overlayzfs rollback", asks: true},
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

// documentStep is a step of a document and what is expected of it.
type documentStep struct {
	walkthrough.Step
	expectedStep
	document string
}

// matchSteps returns the steps of the texts of newcomerDocuments. It fails unless they
// are exactly those of newcomerSteps.
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
			if !want.matches(step.Text) {
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

// matches reports whether a text begins with the expected words.
func (k expectedStep) matches(text string) bool {
	rest, ok := strings.CutPrefix(text, k.begins)
	return ok && (rest == "" || strings.ContainsAny(rest[:1], " \n:"))
}

// adaptCommand replaces placeholders by the lab's names, and gives containers no
// network, for the guest has none.
func adaptCommand(command, snapshot string) string {
	return strings.NewReplacer(
		"POOL", "tank", "NAME", snapshot,
		"docker run ", "docker run --network none ", "docker build ", "docker build --network none ",
	).Replace(command)
}
