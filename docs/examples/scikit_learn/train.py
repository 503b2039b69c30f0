"""Two scikit-learn models on its handwritten digits: no epochs, one number a trial."""

from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.svm import SVC

images, digits = load_digits(return_X_y=True)  # once a process, which trains one trial after another
TRAIN_X, TEST_X, TRAIN_Y, TEST_Y = train_test_split(images, digits, test_size=297, stratify=digits, random_state=0)


def model_of(params, seed):
    if params["model"] == "svm":
        return SVC(C=params["C"], gamma=params["gamma"])
    return RandomForestClassifier(params["trees"], max_depth=params["depth"], random_state=seed)


def train(trial):
    model = model_of(trial.params, trial.seed)
    if trial.final:  # `alexsearch retrain`: on all training images, and only now the test images
        return {"test_accuracy": model.fit(TRAIN_X, TRAIN_Y).score(TEST_X, TEST_Y)}
    return cross_val_score(model, TRAIN_X, TRAIN_Y, cv=3).mean()
