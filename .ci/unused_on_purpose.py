"""Names that vulture takes for unused, and why they stay; read by vulture, never run."""

# Templates read them.
_.anchor

# A section of a user's own writes with it.
html

# Python looks them up by name.
_.__getattr__
_.__dir__

# PyTorch calls it when a network is called.
_.forward
types  # given to every function mode

_.example  # a source shows one of its kind: the contract tests and those of plug-ins ask for it
_.tiny  # a method's smallest settings: part of what a plug-in offers, for trials of it

# Other libraries read them.
_.model_config  # pydantic
_.field_title_should_be_set  # pydantic, while it writes the schema
_.allow_tf32  # torch
_.caption  # rich
_.on_broken_pipe  # rich
_.quiet  # rich
_.config  # altair
_._repr_html_  # notebooks
_.two_d_array  # scikit-learn
_.no_validation  # scikit-learn
_.on_page_markdown  # mkdocs
_.on_page_content  # mkdocs
_._n_features_out  # scikit-learn
_.fit_transform  # whoever has no scikit-learn

_.antialias  # for the readers of export.json

# Fields and methods of results.json for its readers; nothing here reads them back.
_.review
_.different_labels
_.crossing_groups
_.pretrain_images
_.train_images
_.train_steps
_.p_mcnemar
_.total_seconds
_.explained_anew
_.to_frame
