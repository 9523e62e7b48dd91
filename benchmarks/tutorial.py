"""The tutorial's programs as one script, for the library named on the command line."""

from __future__ import annotations

import importlib
import sys

torch = importlib.import_module(sys.argv[1])
F = torch.nn.functional
torch.manual_seed(0)


class TinyModel(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear1 = torch.nn.Linear(100, 200)
        self.activation = torch.nn.ReLU()
        self.linear2 = torch.nn.Linear(200, 10)
        self.softmax = torch.nn.Softmax(dim=1)

    def forward(self, x):
        return self.softmax(self.linear2(self.activation(self.linear1(x))))


tinymodel = TinyModel()
print("The model:")
print(tinymodel)
print("\nJust one layer:")
print(tinymodel.linear2)
print("\nModel params:")
for param in tinymodel.parameters():
    print(param)
print(tinymodel(torch.rand(4, 100)).sum(1))

lin = torch.nn.Linear(3, 2)
x = torch.rand(1, 3)
print("\nInput:")
print(x)
print("\nWeight and bias:")
for param in lin.parameters():
    print(param)
print("\nOutput:")
print(lin(x))


class LeNet(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(1, 6, 5)
        self.conv2 = torch.nn.Conv2d(6, 16, 3)
        self.fc1 = torch.nn.Linear(16 * 6 * 6, 120)
        self.fc2 = torch.nn.Linear(120, 84)
        self.fc3 = torch.nn.Linear(84, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), (2, 2))
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)


lenet = LeNet()
print(lenet)
optimizer = torch.optim.SGD(lenet.parameters(), lr=0.05)
images = torch.rand(16, 1, 32, 32)
labels = torch.randint(0, 10, (16,))
for _ in range(10):
    optimizer.zero_grad()
    loss = F.cross_entropy(lenet(images), labels)
    loss.backward()
    optimizer.step()
print(f"LeNet's loss: {loss.item():.3f}")


class LSTMTagger(torch.nn.Module):
    def __init__(self, embedding_dim, hidden_dim, vocab_size, tagset_size):
        super().__init__()
        self.hidden_dim = hidden_dim
        self.word_embeddings = torch.nn.Embedding(vocab_size, embedding_dim)
        self.lstm = torch.nn.LSTM(embedding_dim, hidden_dim)
        self.hidden2tag = torch.nn.Linear(hidden_dim, tagset_size)

    def forward(self, sentence):
        embeds = self.word_embeddings(sentence)
        lstm_out, _ = self.lstm(embeds.view(len(sentence), 1, -1))
        return F.log_softmax(self.hidden2tag(lstm_out.view(len(sentence), -1)), dim=1)


training_data = [
    ("the dog ate the apple".split(), ["DET", "NN", "V", "DET", "NN"]),
    ("everybody read that book".split(), ["NN", "V", "DET", "NN"]),
]
word_to_ix = {}
for sentence, _ in training_data:
    for word in sentence:
        word_to_ix.setdefault(word, len(word_to_ix))
tag_to_ix = {"DET": 0, "NN": 1, "V": 2}


def numbered(words, numbers):
    return torch.tensor([numbers[word] for word in words], dtype=torch.long)


tagger = LSTMTagger(6, 6, len(word_to_ix), len(tag_to_ix))
loss_function = torch.nn.NLLLoss()
optimizer = torch.optim.SGD(tagger.parameters(), lr=0.1)
for _ in range(100):
    for sentence, tags in training_data:
        tagger.zero_grad()
        tag_scores = tagger(numbered(sentence, word_to_ix))
        loss = loss_function(tag_scores, numbered(tags, tag_to_ix))
        loss.backward()
        optimizer.step()
with torch.no_grad():
    print(tagger(numbered(training_data[0][0], word_to_ix)).argmax(1))

my_tensor = torch.rand(1, 6, 6)
print(my_tensor)
print(torch.nn.MaxPool2d(3)(my_tensor))

my_tensor = torch.rand(1, 4, 4) * 20 + 5
print(my_tensor.mean())
normed = torch.nn.BatchNorm1d(4)(my_tensor)
print(normed)
print(normed.mean())

dropout = torch.nn.Dropout(p=0.4)
print(dropout(torch.rand(1, 4, 4)))

print(torch.nn.Transformer(16, 2, 1, 1, 32))
